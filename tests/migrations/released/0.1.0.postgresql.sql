SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempt (
    trial_id bigint NOT NULL,
    number bigint NOT NULL,
    dispatcher text NOT NULL,
    host text,
    node text,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    error text
);
CREATE TABLE public.checkpoint (
    trial_id bigint NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE public.dataset (
    sha256 text NOT NULL,
    name text NOT NULL,
    arrays jsonb NOT NULL,
    content bytea NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.dispatcher (
    id text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    slots bigint NOT NULL,
    resources jsonb NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
CREATE TABLE public.experiment (
    id bigint NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    notes text NOT NULL,
    tags jsonb NOT NULL,
    priority bigint NOT NULL,
    paused boolean NOT NULL,
    grid jsonb NOT NULL,
    axes jsonb NOT NULL,
    claims jsonb NOT NULL,
    trials bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    leased_at timestamp with time zone
);
CREATE SEQUENCE public.experiment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.experiment_id_seq OWNED BY public.experiment.id;
CREATE TABLE public.experiment_trial (
    experiment_id bigint NOT NULL,
    "position" bigint NOT NULL,
    trial_id bigint NOT NULL,
    wanted boolean NOT NULL
);
CREATE TABLE public.final (
    trial_id bigint NOT NULL,
    layer smallint,
    train_loss double precision,
    test_loss double precision,
    relative_loss double precision,
    gradient_norm double precision,
    weight_norm double precision,
    imbalance double precision,
    imbalance_relative double precision,
    accuracy double precision,
    modes double precision,
    alignment double precision,
    alignment_half double precision,
    alignment_one double precision,
    residual double precision,
    scale double precision,
    best_exponent double precision,
    best_exponent_kind double precision,
    best_alignment double precision,
    null_floor double precision,
    agop_rank double precision,
    pearson double precision,
    pearson_offdiagonal double precision,
    nfa_dnfa double precision,
    nfa_agopfl double precision,
    uc_nfa double precision,
    c_nfa double precision,
    fact_alignment double precision,
    layer_imbalance double precision,
    gram_norm double precision,
    agop_norm double precision,
    gram_stable_rank double precision,
    agop_stable_rank double precision
);
CREATE TABLE public.idempotency (
    owner text NOT NULL,
    key text NOT NULL,
    body_digest text NOT NULL,
    experiment_id bigint NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.incarnation (
    id text NOT NULL
);
CREATE TABLE public.kept_weights (
    trial_id bigint NOT NULL,
    step bigint NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE public.layer_measurement (
    trial_id bigint NOT NULL,
    step bigint NOT NULL,
    layer smallint NOT NULL,
    alignment double precision,
    alignment_half double precision,
    alignment_one double precision,
    residual double precision,
    scale double precision,
    best_exponent double precision,
    best_exponent_kind double precision,
    best_alignment double precision,
    null_floor double precision,
    agop_rank double precision,
    pearson double precision,
    pearson_offdiagonal double precision,
    nfa_dnfa double precision,
    nfa_agopfl double precision,
    uc_nfa double precision,
    c_nfa double precision,
    fact_alignment double precision,
    layer_imbalance double precision,
    gram_norm double precision,
    agop_norm double precision,
    gram_stable_rank double precision,
    agop_stable_rank double precision
);
CREATE TABLE public.measurement (
    trial_id bigint NOT NULL,
    step bigint NOT NULL,
    "time" double precision,
    train_loss double precision,
    test_loss double precision,
    relative_loss double precision,
    gradient_norm double precision,
    weight_norm double precision,
    imbalance double precision,
    imbalance_relative double precision,
    accuracy double precision,
    modes double precision
);
CREATE TABLE public.parametrised_measurement (
    trial_id bigint NOT NULL,
    step bigint NOT NULL,
    layer smallint NOT NULL,
    name text NOT NULL,
    value double precision
);
CREATE TABLE public.settings (
    id bigint NOT NULL,
    digest text NOT NULL,
    stack_key text NOT NULL,
    document jsonb NOT NULL
);
CREATE SEQUENCE public.settings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.settings_id_seq OWNED BY public.settings.id;
CREATE TABLE public.token (
    digest text NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    scope text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);
CREATE TABLE public.trial (
    id bigint NOT NULL,
    fingerprint text NOT NULL,
    settings_id bigint NOT NULL,
    seed bigint NOT NULL,
    stack_key text NOT NULL,
    device text DEFAULT 'auto'::text NOT NULL,
    state text NOT NULL,
    attempt bigint DEFAULT 0 NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    interruptions bigint DEFAULT 0 NOT NULL,
    stack_limit bigint DEFAULT 0 NOT NULL,
    checkpoint_step bigint DEFAULT '-1'::integer NOT NULL,
    kept_every bigint DEFAULT 1 NOT NULL,
    queued_for bigint,
    priority bigint DEFAULT 0 NOT NULL,
    owner text,
    lease_until double precision,
    lease_clock text,
    last_step bigint,
    error text,
    provenance jsonb,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone
);
CREATE SEQUENCE public.trial_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_id_seq OWNED BY public.trial.id;
ALTER TABLE ONLY public.experiment ALTER COLUMN id SET DEFAULT nextval('public.experiment_id_seq'::regclass);
ALTER TABLE ONLY public.settings ALTER COLUMN id SET DEFAULT nextval('public.settings_id_seq'::regclass);
ALTER TABLE ONLY public.trial ALTER COLUMN id SET DEFAULT nextval('public.trial_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.attempt VALUES (1, 1, 'd1', NULL, NULL, '2026-11-24 04:31:58.174468+00', '2026-11-24 04:31:58.182748+00', 'completed', NULL);
INSERT INTO public.attempt VALUES (2, 1, 'd1', NULL, NULL, '2026-11-24 04:31:58.174468+00', '2026-11-24 04:31:58.182748+00', 'completed', NULL);
INSERT INTO public.attempt VALUES (3, 1, 'd1', NULL, NULL, '2026-11-24 04:31:58.174468+00', '2026-11-24 04:31:58.182748+00', 'completed', NULL);
INSERT INTO public.attempt VALUES (4, 1, 'd1', NULL, NULL, '2026-11-24 04:31:58.174468+00', '2026-11-24 04:31:58.182748+00', 'completed', NULL);
INSERT INTO public.attempt VALUES (5, 1, 'd1', NULL, NULL, '2026-11-24 04:31:58.189254+00', NULL, NULL, NULL);
INSERT INTO public.dispatcher VALUES ('dispatcher', 'host', 1, 2, '{}', '2026-11-24 04:31:58.165873+00', '2026-11-24 04:31:58.165873+00');
INSERT INTO public.experiment VALUES (1, 'released', 'anna', '', '[]', 0, false, '{"zip": [], "axes": {"training.weight_decay": [0, 0.1]}, "name": "released", "tags": [], "notes": "", "seeds": 3, "trial": {"data": {"inputs": 4, "outputs": 2, "samples": 20, "spectrum": [2, 1]}, "network": {"depth": 2, "width": 4}, "training": {"steps": 20}}, "claims": [], "exclude": [], "include": [], "priority": 0}', '["training.weight_decay"]', '[]', 6, '2026-11-24 04:31:58.148254+00', '2026-11-24 04:31:58.188375+00');
INSERT INTO public.experiment_trial VALUES (1, 0, 1, true);
INSERT INTO public.experiment_trial VALUES (1, 1, 2, true);
INSERT INTO public.experiment_trial VALUES (1, 2, 3, true);
INSERT INTO public.experiment_trial VALUES (1, 3, 4, true);
INSERT INTO public.experiment_trial VALUES (1, 4, 5, true);
INSERT INTO public.experiment_trial VALUES (1, 5, 6, true);
INSERT INTO public.final VALUES (1, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.final VALUES (2, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.final VALUES (3, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.final VALUES (4, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.idempotency VALUES ('anna', 'k', 'd', 1, '{"id": "e1", "new": 6, "name": "released", "state": "queued", "total": 6, "reused": 0}', '2026-11-24 04:31:58.163179+00');
INSERT INTO public.incarnation VALUES ('5bec4982-b17a-4aa5-b58f-64207a2c7474');
INSERT INTO public.layer_measurement VALUES (1, 0, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (1, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (1, 20, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (2, 0, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (2, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (2, 20, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (3, 0, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (3, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (3, 20, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (4, 0, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (4, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (4, 20, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (5, 0, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.layer_measurement VALUES (5, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (1, 0, 0, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (1, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (1, 20, 2, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (2, 0, 0, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (2, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (2, 20, 2, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (3, 0, 0, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (3, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (3, 20, 2, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (4, 0, 0, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (4, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (4, 20, 2, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (5, 0, 0, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.measurement VALUES (5, 10, 1, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.settings VALUES (1, '614e934e73545678882d2c577c77a622f830e86ec857a40d84377059890385cb', '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', '{"data": {"kind": "linear_teacher", "seed": null, "noise": 0.1, "inputs": 4, "outputs": 2, "samples": 20, "spectrum": [2.0, 1.0], "covariance": "identity", "test_samples": 0}, "init": {"scale": 1.0, "scheme": "he"}, "measure": {"layers": [1], "points": 60, "metrics": ["train_loss", "test_loss", "relative_loss", "gradient_norm", "weight_norm", "imbalance", "imbalance_relative", "accuracy", "modes", "alignment", "alignment_half", "alignment_one", "residual", "scale", "best_exponent", "best_exponent_kind", "best_alignment", "null_floor", "agop_rank"], "spacing": "log"}, "network": {"bias": false, "depth": 2, "width": [4], "activation": "linear", "parameterization": "standard"}, "training": {"loss": "half", "dtype": "float64", "steps": 20, "schedule": "constant", "optimizer": "gd", "weight_decay": 0.0, "learning_rate": 0.02}}');
INSERT INTO public.settings VALUES (2, '5fb990f92125d736ea86c8a088d4766cfbb860ca9ef6e75e15d2bd9fdfe97290', '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', '{"data": {"kind": "linear_teacher", "seed": null, "noise": 0.1, "inputs": 4, "outputs": 2, "samples": 20, "spectrum": [2.0, 1.0], "covariance": "identity", "test_samples": 0}, "init": {"scale": 1.0, "scheme": "he"}, "measure": {"layers": [1], "points": 60, "metrics": ["train_loss", "test_loss", "relative_loss", "gradient_norm", "weight_norm", "imbalance", "imbalance_relative", "accuracy", "modes", "alignment", "alignment_half", "alignment_one", "residual", "scale", "best_exponent", "best_exponent_kind", "best_alignment", "null_floor", "agop_rank"], "spacing": "log"}, "network": {"bias": false, "depth": 2, "width": [4], "activation": "linear", "parameterization": "standard"}, "training": {"loss": "half", "dtype": "float64", "steps": 20, "schedule": "constant", "optimizer": "gd", "weight_decay": 0.1, "learning_rate": 0.02}}');
INSERT INTO public.token VALUES ('8844c64c43dd0cfb58f21b061c73697005a3be736da535529534b46d3c83e647', 'anna', 'anna', 'submit', '2026-11-24 04:31:58.164272+00', NULL, NULL, NULL);
INSERT INTO public.trial VALUES (6, 'afb886b11e2d4d8b7a78cd4bdf27bff5aede9eaa68376f01c7d528fa1ec4db61', 2, 2, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'queued', 0, 0, 0, 0, -1, 1, 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-24 04:31:58.150838+00', NULL, NULL);
INSERT INTO public.trial VALUES (1, '25247b6c775d64cc9bcaffc9d2263f71527d5ca7823fd96b478b4d5ccb7f24a5', 1, 0, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'completed', 1, 0, 0, 0, -1, 1, NULL, 0, NULL, NULL, NULL, 20, NULL, '{"host": "h"}', '2026-11-24 04:31:58.150838+00', '2026-11-24 04:31:58.173349+00', '2026-11-24 04:31:58.182658+00');
INSERT INTO public.trial VALUES (2, '631f54321b24ab7af621ab776ff63fa899ce1585ebd9d53fd97ee8508b4424c7', 1, 1, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'completed', 1, 0, 0, 0, -1, 1, NULL, 0, NULL, NULL, NULL, 20, NULL, '{"host": "h"}', '2026-11-24 04:31:58.150838+00', '2026-11-24 04:31:58.173349+00', '2026-11-24 04:31:58.182658+00');
INSERT INTO public.trial VALUES (3, '3f890745d76cc2fb6a67ebd67d9f4fdef12b7c19478e0f3f6ddeb6693517d2c1', 1, 2, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'completed', 1, 0, 0, 0, -1, 1, NULL, 0, NULL, NULL, NULL, 20, NULL, '{"host": "h"}', '2026-11-24 04:31:58.150838+00', '2026-11-24 04:31:58.173349+00', '2026-11-24 04:31:58.182658+00');
INSERT INTO public.trial VALUES (4, '42d459cbccf3c224306e4f1c2f28b17715615baea99f11807871060766a410e2', 2, 0, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'completed', 1, 0, 0, 0, -1, 1, NULL, 0, NULL, NULL, NULL, 20, NULL, '{"host": "h"}', '2026-11-24 04:31:58.150838+00', '2026-11-24 04:31:58.173349+00', '2026-11-24 04:31:58.182658+00');
INSERT INTO public.trial VALUES (5, '61b54e1b2258472df9c7fc63bb9d06667e1f17e1e6131c2528d5c84dbcb3efe0', 2, 1, '2e3148bc22eed437c34afd430709285777fdf69d645708088b3dd12b4d93d67e', 'auto', 'running', 1, 0, 0, 0, -1, 1, 1, 0, 'd1', 1795494748.191027, 'database', NULL, NULL, NULL, '2026-11-24 04:31:58.150838+00', '2026-11-24 04:31:58.188907+00', NULL);
SELECT pg_catalog.setval('public.experiment_id_seq', 1, true);
SELECT pg_catalog.setval('public.settings_id_seq', 2, true);
SELECT pg_catalog.setval('public.trial_id_seq', 6, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT pk_attempt PRIMARY KEY (trial_id, number);
ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT pk_checkpoint PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.dataset
    ADD CONSTRAINT pk_dataset PRIMARY KEY (sha256);
ALTER TABLE ONLY public.dispatcher
    ADD CONSTRAINT pk_dispatcher PRIMARY KEY (id);
ALTER TABLE ONLY public.experiment
    ADD CONSTRAINT pk_experiment PRIMARY KEY (id);
ALTER TABLE ONLY public.experiment_trial
    ADD CONSTRAINT pk_experiment_trial PRIMARY KEY (experiment_id, "position");
ALTER TABLE ONLY public.final
    ADD CONSTRAINT pk_final PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT pk_idempotency PRIMARY KEY (owner, key);
ALTER TABLE ONLY public.incarnation
    ADD CONSTRAINT pk_incarnation PRIMARY KEY (id);
ALTER TABLE ONLY public.kept_weights
    ADD CONSTRAINT pk_kept_weights PRIMARY KEY (trial_id, step);
ALTER TABLE ONLY public.layer_measurement
    ADD CONSTRAINT pk_layer_measurement PRIMARY KEY (trial_id, step, layer);
ALTER TABLE ONLY public.measurement
    ADD CONSTRAINT pk_measurement PRIMARY KEY (trial_id, step);
ALTER TABLE ONLY public.parametrised_measurement
    ADD CONSTRAINT pk_parametrised_measurement PRIMARY KEY (trial_id, step, layer, name);
ALTER TABLE ONLY public.settings
    ADD CONSTRAINT pk_settings PRIMARY KEY (id);
ALTER TABLE ONLY public.token
    ADD CONSTRAINT pk_token PRIMARY KEY (digest);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT pk_trial PRIMARY KEY (id);
ALTER TABLE ONLY public.experiment_trial
    ADD CONSTRAINT uq_experiment_trial_experiment_id_trial_id UNIQUE (experiment_id, trial_id);
ALTER TABLE ONLY public.settings
    ADD CONSTRAINT uq_settings_digest UNIQUE (digest);
ALTER TABLE ONLY public.token
    ADD CONSTRAINT uq_token_name UNIQUE (name);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT uq_trial_fingerprint UNIQUE (fingerprint);
CREATE INDEX ix_experiment_trial_trial_id ON public.experiment_trial USING btree (trial_id);
CREATE INDEX ix_trial_queue ON public.trial USING btree (priority, queued_for, id, device) WHERE ((state = 'queued'::text) AND (queued_for IS NOT NULL));
CREATE INDEX ix_trial_running ON public.trial USING btree (queued_for) WHERE (state = 'running'::text);
CREATE INDEX ix_trial_settings_id ON public.trial USING btree (settings_id);
CREATE INDEX ix_trial_stack_queue ON public.trial USING btree (stack_key, priority, queued_for, id) WHERE ((state = 'queued'::text) AND (queued_for IS NOT NULL));
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT fk_attempt_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT fk_checkpoint_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.experiment_trial
    ADD CONSTRAINT fk_experiment_trial_experiment_id FOREIGN KEY (experiment_id) REFERENCES public.experiment(id);
ALTER TABLE ONLY public.experiment_trial
    ADD CONSTRAINT fk_experiment_trial_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.final
    ADD CONSTRAINT fk_final_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.kept_weights
    ADD CONSTRAINT fk_kept_weights_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.parametrised_measurement
    ADD CONSTRAINT fk_parametrised_measurement_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT fk_trial_settings_id FOREIGN KEY (settings_id) REFERENCES public.settings(id);
