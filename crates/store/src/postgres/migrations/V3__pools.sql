-- Jobs are handed out instead of published; one that ended badly on several workers and alone is parked.
UPDATE jobs SET phase = 'due', worker = NULL WHERE phase = 'published';
ALTER TABLE jobs DROP CONSTRAINT jobs_phase_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_phase_check CHECK (phase IN ('due', 'leased', 'parked', 'poisoned'));
