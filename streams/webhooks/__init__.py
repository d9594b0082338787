"""The webhook agent: events become deliveries, deliveries become signed POSTs, until each is delivered or given up.

`message` says what is sent, `signing` how it is signed, `schedule` when it is tried again, `slots` how many at once;
`planner` makes delivery rows of events, `sender` tries one, `settling` writes what came of it, `due` takes up what is
due; `batches` is the queue before planner and settling; `agent` puts them together and `app` feeds it from Kafka.
"""
