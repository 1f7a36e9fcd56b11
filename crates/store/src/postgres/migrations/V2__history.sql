-- What readers ask for comes from the projections, on connections of their own: what these lacked is added. Rows written
-- before are completed by the next coordinator that leads.

-- The place in the history: batches in order, and within a batch its operations in the order of their slots.
ALTER TABLE operations
    ADD COLUMN number   bigint UNIQUE CHECK (number / 65536 = batch_no),
    ADD COLUMN deadline bigint, -- of its promises, Unix seconds
    ADD COLUMN promised bytea;  -- what is promised for each slot, postcard
CREATE INDEX operations_of_sender ON operations (sender, number);
CREATE INDEX operations_of_recipient ON operations (recipient, number);
CREATE INDEX operations_incomplete ON operations (id) WHERE number IS NULL;

ALTER TABLE batches
    ADD COLUMN public_inputs bytea CHECK (octet_length(public_inputs) = 96),
    ADD COLUMN worker        text,
    ADD COLUMN attempts      bigint,
    ADD COLUMN timeline      text; -- JSON: when each stage was reached
CREATE INDEX batches_incomplete ON batches (batch_no) WHERE timeline IS NULL;

-- Signatures under promises, as they were given out: a promise is signed once. They follow the commit that makes the
-- operation durable; where a death came between, the next reader signs.
CREATE TABLE promises (
    operation  bytea PRIMARY KEY REFERENCES operations (id),
    signer     bytea NOT NULL CHECK (octet_length(signer) = 20),
    signatures bytea NOT NULL CHECK (octet_length(signatures) > 0 AND octet_length(signatures) % 65 = 0) -- 65 bytes a slot
);
