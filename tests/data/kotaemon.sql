-- The tables of Kotaemon (March 2026) that hold what happens, column for column as SQLAlchemy makes them of its models; written by hand.
CREATE TABLE conversation (id VARCHAR NOT NULL, name VARCHAR NOT NULL, user VARCHAR NOT NULL, is_public BOOLEAN NOT NULL, data_source JSON, date_created DATETIME NOT NULL, date_updated DATETIME NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_conversation_id ON conversation (id);
CREATE TABLE user (id VARCHAR NOT NULL, username VARCHAR NOT NULL, username_lower VARCHAR NOT NULL, password VARCHAR NOT NULL, admin BOOLEAN NOT NULL, PRIMARY KEY (id), UNIQUE (username), UNIQUE (username_lower));
CREATE TABLE settings (id VARCHAR NOT NULL, user VARCHAR NOT NULL, setting JSON, PRIMARY KEY (id));
CREATE INDEX ix_settings_id ON settings (id);
CREATE TABLE issuereport (id INTEGER NOT NULL, issues JSON, chat JSON, settings JSON, user VARCHAR, PRIMARY KEY (id));
CREATE TABLE ktem__index (id INTEGER NOT NULL, name VARCHAR NOT NULL, index_type VARCHAR NOT NULL, config JSON, PRIMARY KEY (id), UNIQUE (name));
CREATE TABLE llm_table (name VARCHAR NOT NULL, spec JSON, "default" BOOLEAN, PRIMARY KEY (name), UNIQUE (name));
CREATE TABLE index__1__source (id VARCHAR NOT NULL, name VARCHAR, path VARCHAR, size INTEGER, date_created DATETIME, user VARCHAR, note JSON, PRIMARY KEY (id), UNIQUE (id), UNIQUE (name));
CREATE TABLE index__1__index (id INTEGER NOT NULL, source_id VARCHAR, target_id VARCHAR, relation_type VARCHAR, user VARCHAR, PRIMARY KEY (id));
CREATE TABLE index__1__group (id VARCHAR NOT NULL, date_created DATETIME, name VARCHAR, user VARCHAR, data JSON, PRIMARY KEY (id), UNIQUE (id));
