-- Answers and tokens of each application and model per minute, by the time of the events.
-- ${SERVERS} and ${REGISTRY} are filled in by usage.py; in Flink's SQL client write your own.

-- A topic in binary mode, as it is by default: attributes are headers, the value is the data.
CREATE TABLE binary_events (
  headers MAP<STRING, BYTES> METADATA VIRTUAL,
  app ROW<name STRING>,
  `model` ROW<name STRING>,
  `usage` ROW<input_tokens BIGINT, output_tokens BIGINT>
) WITH (
  'connector' = 'kafka',
  'topic' = 'ai.events',
  'properties.bootstrap.servers' = '${SERVERS}',
  'properties.group.id' = 'usage-sql',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

-- The same events from a topic with `encoding: structured`, where the value is the whole event.
CREATE TABLE structured_events (
  id STRING,
  source STRING,
  type STRING,
  `time` STRING,
  data ROW<app ROW<name STRING>, `model` ROW<name STRING>, `usage` ROW<input_tokens BIGINT, output_tokens BIGINT>>
) WITH (
  'connector' = 'kafka',
  'topic' = 'ai.structured',
  'properties.bootstrap.servers' = '${SERVERS}',
  'properties.group.id' = 'usage-sql-structured',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

-- And from one with `encoding: avro-columns`: typed columns, by the schema that the registry has. Only those that are wanted need be named.
CREATE TABLE columns_events (
  id STRING,
  source STRING,
  type STRING,
  `time` TIMESTAMP(3),
  app ROW<name STRING>,
  `model` ROW<name STRING>,
  `usage` ROW<input_tokens BIGINT, output_tokens BIGINT>
) WITH (
  'connector' = 'kafka',
  'topic' = 'ai.columns',
  'properties.bootstrap.servers' = '${SERVERS}',
  'properties.group.id' = 'usage-sql-columns',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'avro-confluent',
  'avro-confluent.url' = '${REGISTRY}'
);

CREATE VIEW binary_answers AS
SELECT
  DECODE(headers['ce_source'], 'UTF-8') AS source,
  DECODE(headers['ce_id'], 'UTF-8') AS id,
  DECODE(headers['ce_time'], 'UTF-8') AS happened,
  app, `model`, `usage`
FROM binary_events
WHERE DECODE(headers['ce_type'], 'UTF-8') = 'chat.response.generated';

CREATE VIEW structured_answers AS
SELECT source, id, `time` AS happened, data.app, data.`model`, data.`usage`
FROM structured_events
WHERE type = 'chat.response.generated';

CREATE VIEW columns_answers AS
SELECT source, id, DATE_FORMAT(`time`, 'yyyy-MM-dd''T''HH:mm:ss') AS happened, app, `model`, `usage`
FROM columns_events
WHERE type = 'chat.response.generated';
