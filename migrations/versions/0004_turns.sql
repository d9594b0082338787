-- 20,000 bulk jobs may wait before one secondary one: each class has its own head.
CREATE INDEX jobs_turn_of_class ON jobs (tenant_id, topic, job_class, turn_at, id)
    WHERE state = 'waiting' AND reason = 'credit';
