-- The log is the truth; every other table follows from it and is written in the same transaction.
-- Words of the field are 32 bytes, big-endian. Coins, places and Unix milliseconds fit 63 bits.
-- What the schema refuses is a bug of the coordinator, never a user's mistake.

CREATE TABLE meta (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- Who may write. Terms only grow; time is the database's, so clocks of coordinators do not matter.
CREATE TABLE leader (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    term       bigint      NOT NULL CHECK (term >= 1),
    holder     text        NOT NULL CHECK (holder <> ''),
    session    text        NOT NULL, -- application_name of the connections that the holder opened
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE events (
    sequence bigint PRIMARY KEY CHECK (sequence >= 1),
    at       bigint NOT NULL, -- Unix milliseconds
    body     bytea  NOT NULL  -- postcard
);

CREATE TABLE user_balance (
    address bytea  PRIMARY KEY CHECK (octet_length(address) = 20),
    balance bigint NOT NULL CHECK (balance >= 0), -- accepted
    proven  bigint NOT NULL CHECK (proven >= 0),
    final   bigint NOT NULL CHECK (final >= 0)
) WITH (fillfactor = 70);

CREATE TABLE leaves (
    place    bigint  PRIMARY KEY CHECK (place >= 0),
    owner    bytea   NOT NULL CHECK (octet_length(owner) = 20),
    account  bytea   NOT NULL CHECK (octet_length(account) = 32),
    key_hash bytea   CHECK (octet_length(key_hash) = 32),
    low      bigint  NOT NULL CHECK (low >= 1),
    high     bigint  NOT NULL CHECK (high >= low),
    batch_no integer NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE operations (
    id        bytea   PRIMARY KEY CHECK (octet_length(id) = 32),
    kind      text    NOT NULL CHECK (kind IN ('mint', 'send', 'withdraw', 'forced_exit', 'forced_rekey')),
    sender    bytea   CHECK (octet_length(sender) = 20),
    recipient bytea   CHECK (octet_length(recipient) = 20),
    amount    bigint  NOT NULL CHECK (amount >= 0),
    batch_no  integer NOT NULL CHECK (batch_no >= 1),
    at        bigint  NOT NULL,
    hit       boolean
);

-- Roots are consecutive: a batch begins where the one before it ended.
CREATE TABLE batches (
    batch_no   integer PRIMARY KEY CHECK (batch_no >= 1),
    shape      text    NOT NULL,
    stage      text    NOT NULL CHECK (stage IN ('sealed', 'proving', 'proven', 'submitted', 'final')),
    start      bigint  NOT NULL CHECK (start >= 0),
    old_root   bytea   NOT NULL CHECK (octet_length(old_root) = 32),
    mid_root   bytea   NOT NULL CHECK (octet_length(mid_root) = 32),
    new_root   bytea   NOT NULL CHECK (octet_length(new_root) = 32),
    input_hash bytea   NOT NULL CHECK (octet_length(input_hash) = 32),
    input      bytea   CHECK (input IS NULL OR stage IN ('sealed', 'proving')), -- the encoded BatchInput
    l1_tx      bytea   CHECK (octet_length(l1_tx) = 32),
    l1_block   bigint,
    gas_used   bigint,
    previous   integer GENERATED ALWAYS AS (NULLIF(batch_no - 1, 0)) STORED,
    UNIQUE (batch_no, new_root),
    CONSTRAINT consecutive_roots FOREIGN KEY (previous, old_root) REFERENCES batches (batch_no, new_root)
);

-- An input does not compress.
ALTER TABLE batches ALTER COLUMN input SET STORAGE EXTERNAL;

-- One job a batch, and at most one live lease a job.
CREATE TABLE jobs (
    batch_no integer PRIMARY KEY REFERENCES batches (batch_no),
    attempt  bigint  NOT NULL CHECK (attempt >= 0),
    charged  bigint  NOT NULL CHECK (charged >= 0),
    phase    text    NOT NULL CHECK (phase IN ('due', 'published', 'leased', 'poisoned')),
    worker   text,
    CONSTRAINT one_live_lease CHECK ((phase = 'leased') = (worker IS NOT NULL))
);

CREATE TABLE proofs (
    batch_no   integer PRIMARY KEY REFERENCES batches (batch_no),
    proof      bytea   NOT NULL CHECK (octet_length(proof) = 256),
    worker     text,
    prove_ms   bigint,
    witness_ms bigint
);

CREATE TABLE transactions (
    hash         bytea   PRIMARY KEY CHECK (octet_length(hash) = 32),
    batch_no     integer NOT NULL REFERENCES batches (batch_no),
    nonce        bigint  NOT NULL CHECK (nonce >= 0),
    raw          bytea   NOT NULL,
    max_fee      numeric NOT NULL CHECK (max_fee >= 0), -- wei per gas
    max_priority numeric NOT NULL CHECK (max_priority >= 0),
    live         boolean NOT NULL -- signed last for its batch, and not mined
);
CREATE UNIQUE INDEX one_live_nonce ON transactions (nonce) WHERE live;
CREATE INDEX transactions_of_batch ON transactions (batch_no);

CREATE TABLE chain_cursor (
    id     integer PRIMARY KEY CHECK (id = 1),
    number bigint  NOT NULL,
    hash   bytea   NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE TABLE directory (
    owner     bytea  PRIMARY KEY CHECK (octet_length(owner) = 20),
    ax        bytea  NOT NULL CHECK (octet_length(ax) = 32),
    ay        bytea  NOT NULL CHECK (octet_length(ay) = 32),
    key_epoch bigint NOT NULL CHECK (key_epoch >= 0),
    signature bytea  NOT NULL
);

CREATE TABLE idempotency (
    sender       bytea NOT NULL CHECK (octet_length(sender) = 20),
    key          text  NOT NULL,
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    operation    bytea CHECK (octet_length(operation) = 32),
    PRIMARY KEY (sender, key)
);

-- What was decided about a batch, for people: claims, leases, proofs, transactions, reorganisations.
CREATE TABLE lines (
    id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_no integer NOT NULL,
    at       bigint  NOT NULL, -- Unix milliseconds
    text     text    NOT NULL
);
CREATE INDEX lines_of_batch ON lines (batch_no, id);

-- The last statement of every commit. Whoever does not lead in this term writes nothing; whoever does keeps leading. It
-- comes last so that the row is locked no longer than the commit itself takes.
CREATE FUNCTION fence(my_term bigint, my_session text, lease_ms bigint, first_event bigint, last_batch integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE leader SET expires_at = clock_timestamp() + lease_ms * interval '1 millisecond'
    WHERE term = my_term AND session = my_session;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PM001', MESSAGE = coalesce((SELECT holder FROM leader), 'nobody');
    END IF;
    IF first_event > 1 AND NOT EXISTS (SELECT FROM events WHERE sequence = first_event - 1) THEN
        RAISE EXCEPTION USING ERRCODE = 'PM002', MESSAGE = format('event %s would leave a gap in the log', first_event);
    END IF;
    -- One batch is open: the one after the last sealed.
    IF last_batch > coalesce((SELECT max(batch_no) FROM batches), 0) + 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'PM003', MESSAGE = format('an operation in batch %s, which is not open', last_batch);
    END IF;
END
$$;
