-- The log is the truth; every other table follows from it and is written in the same transaction.
-- Words of the field are 32 bytes, big-endian. Coins and places fit 63 bits, so they are stored as integers.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL, -- Unix milliseconds
    body     BLOB    NOT NULL  -- postcard
) STRICT;

CREATE TABLE IF NOT EXISTS user_balance (
    address BLOB    PRIMARY KEY CHECK (length(address) = 20),
    balance INTEGER NOT NULL CHECK (balance >= 0), -- accepted
    proven  INTEGER NOT NULL CHECK (proven >= 0),
    final   INTEGER NOT NULL CHECK (final >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS leaves (
    place    INTEGER PRIMARY KEY,
    owner    BLOB    NOT NULL CHECK (length(owner) = 20),
    account  BLOB    NOT NULL CHECK (length(account) = 32),
    key_hash BLOB    CHECK (key_hash IS NULL OR length(key_hash) = 32),
    low      INTEGER NOT NULL CHECK (low >= 1),
    high     INTEGER NOT NULL CHECK (high >= low),
    batch_no INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS operations (
    id        BLOB    PRIMARY KEY CHECK (length(id) = 32),
    kind      TEXT    NOT NULL CHECK (kind IN ('mint', 'send', 'withdraw', 'forced_exit', 'forced_rekey')),
    sender    BLOB,
    recipient BLOB,
    amount    INTEGER NOT NULL,
    batch_no  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    hit       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS batches (
    batch_no   INTEGER PRIMARY KEY,
    shape      TEXT    NOT NULL,
    stage      TEXT    NOT NULL CHECK (stage IN ('sealed', 'proving', 'proven', 'submitted', 'final')),
    start      INTEGER NOT NULL,
    old_root   BLOB    NOT NULL CHECK (length(old_root) = 32),
    mid_root   BLOB    NOT NULL CHECK (length(mid_root) = 32),
    new_root   BLOB    NOT NULL CHECK (length(new_root) = 32),
    input_hash BLOB    NOT NULL CHECK (length(input_hash) = 32),
    input      BLOB,   -- the encoded BatchInput, until the batch is proven
    l1_tx      BLOB,
    l1_block   INTEGER,
    gas_used   INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS jobs (
    batch_no INTEGER PRIMARY KEY REFERENCES batches (batch_no),
    attempt  INTEGER NOT NULL,
    charged  INTEGER NOT NULL,
    phase    TEXT    NOT NULL CHECK (phase IN ('due', 'leased', 'parked', 'poisoned')),
    worker   TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS proofs (
    batch_no   INTEGER PRIMARY KEY REFERENCES batches (batch_no),
    proof      BLOB    NOT NULL CHECK (length(proof) = 256),
    worker     TEXT,
    prove_ms   INTEGER,
    witness_ms INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS transactions (
    hash         BLOB    PRIMARY KEY CHECK (length(hash) = 32),
    batch_no     INTEGER NOT NULL REFERENCES batches (batch_no),
    nonce        INTEGER NOT NULL,
    raw          BLOB    NOT NULL,
    max_fee      TEXT    NOT NULL, -- wei per gas
    max_priority TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS chain_cursor (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    hash   BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE IF NOT EXISTS directory (
    owner     BLOB    PRIMARY KEY CHECK (length(owner) = 20),
    ax        BLOB    NOT NULL CHECK (length(ax) = 32),
    ay        BLOB    NOT NULL CHECK (length(ay) = 32),
    key_epoch INTEGER NOT NULL,
    signature BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS idempotency (
    sender       BLOB NOT NULL CHECK (length(sender) = 20),
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    operation    BLOB,
    PRIMARY KEY (sender, key)
) STRICT, WITHOUT ROWID;

-- What was decided about a batch, for people: claims, leases, proofs, transactions, reorganisations.
CREATE TABLE IF NOT EXISTS lines (
    id       INTEGER PRIMARY KEY,
    batch_no INTEGER NOT NULL,
    at       INTEGER NOT NULL, -- Unix milliseconds
    text     TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS lines_of_batch ON lines (batch_no);
