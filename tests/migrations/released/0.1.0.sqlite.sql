BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempt (
	trial_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	dispatcher TEXT NOT NULL, 
	host TEXT, 
	node TEXT, 
	started_at TEXT NOT NULL, 
	ended_at TEXT, 
	outcome TEXT, 
	error TEXT, 
	CONSTRAINT pk_attempt PRIMARY KEY (trial_id, number), 
	CONSTRAINT fk_attempt_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "attempt" VALUES(1,1,'d1',NULL,NULL,'2026-11-24T04:31:57.866550+00:00','2026-11-24T04:31:58.048992+00:00','completed',NULL);
INSERT INTO "attempt" VALUES(2,1,'d1',NULL,NULL,'2026-11-24T04:31:57.866550+00:00','2026-11-24T04:31:58.048992+00:00','completed',NULL);
INSERT INTO "attempt" VALUES(3,1,'d1',NULL,NULL,'2026-11-24T04:31:57.866550+00:00','2026-11-24T04:31:58.048992+00:00','completed',NULL);
INSERT INTO "attempt" VALUES(4,1,'d1',NULL,NULL,'2026-11-24T04:31:57.866550+00:00','2026-11-24T04:31:58.048992+00:00','completed',NULL);
INSERT INTO "attempt" VALUES(5,1,'d1',NULL,NULL,'2026-11-24T04:31:58.053848+00:00',NULL,NULL,NULL);
CREATE TABLE checkpoint (
	trial_id INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_checkpoint PRIMARY KEY (trial_id), 
	CONSTRAINT fk_checkpoint_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 STRICT

;
CREATE TABLE dataset (
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	arrays TEXT NOT NULL, 
	content BLOB NOT NULL, 
	created_at TEXT NOT NULL, 
	CONSTRAINT pk_dataset PRIMARY KEY (sha256)
)
 STRICT

;
CREATE TABLE dispatcher (
	id TEXT NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	slots INTEGER NOT NULL, 
	resources TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	seen_at TEXT NOT NULL, 
	CONSTRAINT pk_dispatcher PRIMARY KEY (id)
)
 STRICT

;
INSERT INTO "dispatcher" VALUES('dispatcher','host',1,2,'{}','2026-11-24T04:31:57.860073+00:00','2026-11-24T04:31:57.860073+00:00');
CREATE TABLE experiment (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	notes TEXT NOT NULL, 
	tags TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	paused INTEGER NOT NULL, 
	grid TEXT NOT NULL, 
	axes TEXT NOT NULL, 
	claims TEXT NOT NULL, 
	trials INTEGER NOT NULL, 
	created_at TEXT NOT NULL, 
	leased_at TEXT
)
 STRICT

;
INSERT INTO "experiment" VALUES(1,'released','anna','','[]',0,0,'{"name":"released","notes":"","tags":[],"priority":0,"trial":{"data":{"samples":20,"inputs":4,"outputs":2,"spectrum":[2,1]},"network":{"depth":2,"width":4},"training":{"steps":20}},"axes":{"training.weight_decay":[0,0.1]},"zip":[],"exclude":[],"include":[],"seeds":3,"claims":[]}','["training.weight_decay"]','[]',6,'2026-11-24T04:31:57.848489+00:00','2026-11-24T04:31:58.053299+00:00');
CREATE TABLE experiment_trial (
	experiment_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	wanted INTEGER NOT NULL, 
	CONSTRAINT pk_experiment_trial PRIMARY KEY (experiment_id, position), 
	CONSTRAINT uq_experiment_trial_experiment_id_trial_id UNIQUE (experiment_id, trial_id), 
	CONSTRAINT fk_experiment_trial_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiment (id), 
	CONSTRAINT fk_experiment_trial_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 STRICT

;
INSERT INTO "experiment_trial" VALUES(1,0,1,1);
INSERT INTO "experiment_trial" VALUES(1,1,2,1);
INSERT INTO "experiment_trial" VALUES(1,2,3,1);
INSERT INTO "experiment_trial" VALUES(1,3,4,1);
INSERT INTO "experiment_trial" VALUES(1,4,5,1);
INSERT INTO "experiment_trial" VALUES(1,5,6,1);
CREATE TABLE final (
	trial_id INTEGER NOT NULL, 
	layer INTEGER, 
	train_loss REAL, 
	test_loss REAL, 
	relative_loss REAL, 
	gradient_norm REAL, 
	weight_norm REAL, 
	imbalance REAL, 
	imbalance_relative REAL, 
	accuracy REAL, 
	modes REAL, 
	alignment REAL, 
	alignment_half REAL, 
	alignment_one REAL, 
	residual REAL, 
	scale REAL, 
	best_exponent REAL, 
	best_exponent_kind REAL, 
	best_alignment REAL, 
	null_floor REAL, 
	agop_rank REAL, 
	pearson REAL, 
	pearson_offdiagonal REAL, 
	nfa_dnfa REAL, 
	nfa_agopfl REAL, 
	uc_nfa REAL, 
	c_nfa REAL, 
	fact_alignment REAL, 
	layer_imbalance REAL, 
	gram_norm REAL, 
	agop_norm REAL, 
	gram_stable_rank REAL, 
	agop_stable_rank REAL, 
	CONSTRAINT pk_final PRIMARY KEY (trial_id), 
	CONSTRAINT fk_final_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 STRICT

;
INSERT INTO "final" VALUES(1,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "final" VALUES(2,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "final" VALUES(3,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "final" VALUES(4,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE idempotency (
	owner TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	body_digest TEXT NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (owner, "key")
)
 STRICT

;
INSERT INTO "idempotency" VALUES('anna','k','d',1,'{"id":"e1","name":"released","state":"queued","total":6,"new":6,"reused":0}','2026-11-24T04:31:57.858254+00:00');
CREATE TABLE incarnation (
	id TEXT NOT NULL, 
	CONSTRAINT pk_incarnation PRIMARY KEY (id)
)
 STRICT

;
INSERT INTO "incarnation" VALUES('d35becbe-3abf-4aef-9196-ac2271244d73');
CREATE TABLE kept_weights (
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_kept_weights PRIMARY KEY (trial_id, step), 
	CONSTRAINT fk_kept_weights_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 STRICT

;
CREATE TABLE layer_measurement (
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	layer INTEGER NOT NULL, 
	alignment REAL, 
	alignment_half REAL, 
	alignment_one REAL, 
	residual REAL, 
	scale REAL, 
	best_exponent REAL, 
	best_exponent_kind REAL, 
	best_alignment REAL, 
	null_floor REAL, 
	agop_rank REAL, 
	pearson REAL, 
	pearson_offdiagonal REAL, 
	nfa_dnfa REAL, 
	nfa_agopfl REAL, 
	uc_nfa REAL, 
	c_nfa REAL, 
	fact_alignment REAL, 
	layer_imbalance REAL, 
	gram_norm REAL, 
	agop_norm REAL, 
	gram_stable_rank REAL, 
	agop_stable_rank REAL, 
	CONSTRAINT pk_layer_measurement PRIMARY KEY (trial_id, step, layer)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "layer_measurement" VALUES(1,0,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(1,10,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(1,20,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(2,0,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(2,10,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(2,20,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(3,0,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(3,10,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(3,20,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(4,0,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(4,10,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(4,20,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(5,0,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "layer_measurement" VALUES(5,10,1,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE measurement (
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	time REAL, 
	train_loss REAL, 
	test_loss REAL, 
	relative_loss REAL, 
	gradient_norm REAL, 
	weight_norm REAL, 
	imbalance REAL, 
	imbalance_relative REAL, 
	accuracy REAL, 
	modes REAL, 
	CONSTRAINT pk_measurement PRIMARY KEY (trial_id, step)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "measurement" VALUES(1,0,0.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(1,10,1.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(1,20,2.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(2,0,0.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(2,10,1.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(2,20,2.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(3,0,0.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(3,10,1.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(3,20,2.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(4,0,0.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(4,10,1.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(4,20,2.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(5,0,0.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurement" VALUES(5,10,1.0,0.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE parametrised_measurement (
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	layer INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	value REAL, 
	CONSTRAINT pk_parametrised_measurement PRIMARY KEY (trial_id, step, layer, name), 
	CONSTRAINT fk_parametrised_measurement_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
)
 WITHOUT ROWID,
 STRICT

;
CREATE TABLE settings (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	digest TEXT NOT NULL, 
	stack_key TEXT NOT NULL, 
	document TEXT NOT NULL, 
	CONSTRAINT uq_settings_digest UNIQUE (digest)
)
 STRICT

;
INSERT INTO "settings" VALUES(1,'614e934e73545678882d2c577c77a622f830e86ec857a40d84377059890385cb','2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','{"data":{"kind":"linear_teacher","samples":20,"inputs":4,"outputs":2,"spectrum":[2.0,1.0],"noise":0.1,"covariance":"identity","test_samples":0,"seed":null},"network":{"depth":2,"bias":false,"parameterization":"standard","activation":"linear","width":[4]},"init":{"scheme":"he","scale":1.0},"training":{"optimizer":"gd","weight_decay":0.0,"loss":"half","dtype":"float64","learning_rate":0.02,"steps":20,"schedule":"constant"},"measure":{"layers":[1],"metrics":["train_loss","test_loss","relative_loss","gradient_norm","weight_norm","imbalance","imbalance_relative","accuracy","modes","alignment","alignment_half","alignment_one","residual","scale","best_exponent","best_exponent_kind","best_alignment","null_floor","agop_rank"],"points":60,"spacing":"log"}}');
INSERT INTO "settings" VALUES(2,'5fb990f92125d736ea86c8a088d4766cfbb860ca9ef6e75e15d2bd9fdfe97290','2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','{"data":{"kind":"linear_teacher","samples":20,"inputs":4,"outputs":2,"spectrum":[2.0,1.0],"noise":0.1,"covariance":"identity","test_samples":0,"seed":null},"network":{"depth":2,"bias":false,"parameterization":"standard","activation":"linear","width":[4]},"init":{"scheme":"he","scale":1.0},"training":{"optimizer":"gd","weight_decay":0.1,"loss":"half","dtype":"float64","learning_rate":0.02,"steps":20,"schedule":"constant"},"measure":{"layers":[1],"metrics":["train_loss","test_loss","relative_loss","gradient_norm","weight_norm","imbalance","imbalance_relative","accuracy","modes","alignment","alignment_half","alignment_one","residual","scale","best_exponent","best_exponent_kind","best_alignment","null_floor","agop_rank"],"points":60,"spacing":"log"}}');
CREATE TABLE token (
	digest TEXT NOT NULL, 
	name TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	expires_at TEXT, 
	last_used_at TEXT, 
	revoked_at TEXT, 
	CONSTRAINT pk_token PRIMARY KEY (digest), 
	CONSTRAINT uq_token_name UNIQUE (name)
)
 STRICT

;
INSERT INTO "token" VALUES('e5ff83f9a99a5fab83cf5b27acde3490dfc27535af4d3e9acb5400d3f4ffcd81','anna','anna','submit','2026-11-24T04:31:57.859153+00:00',NULL,NULL,NULL);
CREATE TABLE trial (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	fingerprint TEXT NOT NULL, 
	settings_id INTEGER NOT NULL, 
	seed INTEGER NOT NULL, 
	stack_key TEXT NOT NULL, 
	device TEXT DEFAULT 'auto' NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER DEFAULT 0 NOT NULL, 
	failures INTEGER DEFAULT 0 NOT NULL, 
	interruptions INTEGER DEFAULT 0 NOT NULL, 
	stack_limit INTEGER DEFAULT 0 NOT NULL, 
	checkpoint_step INTEGER DEFAULT (-1) NOT NULL, 
	kept_every INTEGER DEFAULT 1 NOT NULL, 
	queued_for INTEGER, 
	priority INTEGER DEFAULT 0 NOT NULL, 
	owner TEXT, 
	lease_until REAL, 
	lease_clock TEXT, 
	last_step INTEGER, 
	error TEXT, 
	provenance TEXT, 
	created_at TEXT NOT NULL, 
	started_at TEXT, 
	ended_at TEXT, 
	CONSTRAINT uq_trial_fingerprint UNIQUE (fingerprint), 
	CONSTRAINT fk_trial_settings_id FOREIGN KEY(settings_id) REFERENCES settings (id)
)
 STRICT

;
INSERT INTO "trial" VALUES(1,'25247b6c775d64cc9bcaffc9d2263f71527d5ca7823fd96b478b4d5ccb7f24a5',1,0,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','completed',1,0,0,0,-1,1,NULL,0,NULL,NULL,NULL,20,NULL,'{"host":"h"}','2026-11-24T04:31:57.849975+00:00','2026-11-24T04:31:57.865953+00:00','2026-11-24T04:31:58.048769+00:00');
INSERT INTO "trial" VALUES(2,'631f54321b24ab7af621ab776ff63fa899ce1585ebd9d53fd97ee8508b4424c7',1,1,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','completed',1,0,0,0,-1,1,NULL,0,NULL,NULL,NULL,20,NULL,'{"host":"h"}','2026-11-24T04:31:57.849975+00:00','2026-11-24T04:31:57.865953+00:00','2026-11-24T04:31:58.048769+00:00');
INSERT INTO "trial" VALUES(3,'3f890745d76cc2fb6a67ebd67d9f4fdef12b7c19478e0f3f6ddeb6693517d2c1',1,2,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','completed',1,0,0,0,-1,1,NULL,0,NULL,NULL,NULL,20,NULL,'{"host":"h"}','2026-11-24T04:31:57.849975+00:00','2026-11-24T04:31:57.865953+00:00','2026-11-24T04:31:58.048769+00:00');
INSERT INTO "trial" VALUES(4,'42d459cbccf3c224306e4f1c2f28b17715615baea99f11807871060766a410e2',2,0,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','completed',1,0,0,0,-1,1,NULL,0,NULL,NULL,NULL,20,NULL,'{"host":"h"}','2026-11-24T04:31:57.849975+00:00','2026-11-24T04:31:57.865953+00:00','2026-11-24T04:31:58.048769+00:00');
INSERT INTO "trial" VALUES(5,'61b54e1b2258472df9c7fc63bb9d06667e1f17e1e6131c2528d5c84dbcb3efe0',2,1,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','running',1,0,0,0,-1,1,1,0,'d1',50453.784300163,'12418b50-2fdd-4816-b1c5-4073462b9159',NULL,NULL,NULL,'2026-11-24T04:31:57.849975+00:00','2026-11-24T04:31:58.053615+00:00',NULL);
INSERT INTO "trial" VALUES(6,'afb886b11e2d4d8b7a78cd4bdf27bff5aede9eaa68376f01c7d528fa1ec4db61',2,2,'2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e','auto','queued',0,0,0,0,-1,1,1,0,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-24T04:31:57.849975+00:00',NULL,NULL);
CREATE INDEX ix_trial_settings_id ON trial (settings_id);
CREATE INDEX ix_trial_queue ON trial (priority, queued_for, id, device) WHERE state = 'queued' AND queued_for IS NOT NULL;
CREATE INDEX ix_trial_stack_queue ON trial (stack_key, priority, queued_for, id) WHERE state = 'queued' AND queued_for IS NOT NULL;
CREATE INDEX ix_trial_running ON trial (queued_for) WHERE state = 'running';
CREATE INDEX ix_experiment_trial_trial_id ON experiment_trial (trial_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('experiment',1);
INSERT INTO "sqlite_sequence" VALUES('settings',2);
INSERT INTO "sqlite_sequence" VALUES('trial',6);
COMMIT;
