"""Makes a package of this folder, so that what has the scope `package` ends with it."""
