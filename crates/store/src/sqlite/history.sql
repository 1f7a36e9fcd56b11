-- What readers ask for comes from the projections, on connections of their own: what these lacked is added. Rows written
-- before are completed by the next coordinator that leads.

-- The place in the history: batches in order, and within a batch its operations in the order of their slots.
ALTER TABLE operations ADD COLUMN number INTEGER CHECK (number / 65536 = batch_no);
ALTER TABLE operations ADD COLUMN deadline INTEGER; -- of its promises, Unix seconds
ALTER TABLE operations ADD COLUMN promised BLOB;    -- what is promised for each slot, postcard
CREATE UNIQUE INDEX operations_in_order ON operations (number);
CREATE INDEX operations_of_sender ON operations (sender, number);
CREATE INDEX operations_of_recipient ON operations (recipient, number);
CREATE INDEX operations_incomplete ON operations (id) WHERE number IS NULL;

ALTER TABLE batches ADD COLUMN public_inputs BLOB CHECK (length(public_inputs) = 96);
ALTER TABLE batches ADD COLUMN worker TEXT;
ALTER TABLE batches ADD COLUMN attempts INTEGER;
ALTER TABLE batches ADD COLUMN timeline TEXT; -- JSON: when each stage was reached
CREATE INDEX batches_incomplete ON batches (batch_no) WHERE timeline IS NULL;

-- Signatures under promises, as they were given out: a promise is signed once. They follow the commit that makes the
-- operation durable; where a death came between, the next reader signs.
CREATE TABLE promises (
    operation  BLOB PRIMARY KEY REFERENCES operations (id),
    signer     BLOB NOT NULL CHECK (length(signer) = 20),
    signatures BLOB NOT NULL CHECK (length(signatures) > 0 AND length(signatures) % 65 = 0) -- 65 bytes a slot
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
