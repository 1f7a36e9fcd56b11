//! The documents that the client sends. The tests run each against the schema.

pub const SYSTEM: &str = "query { system { version chainId contract domain operator promiseSigner \
    limits { quantum minAmount maxLeavesPerOperation } \
    circuits { name number slots mintPlaces digest } devKey l1 { head finalized } \
    progress { openBatch sealedBatch provenBatch finalBatch stateRoot provenRoot finalRoot } \
    intakeAlarm draining } }";

pub const ACCOUNT: &str = "query($address: Address!, $first: Int!, $after: String) { account(address: $address) { \
    balances { accepted proven final } \
    coins(first: $first, after: $after) { \
        nodes { index owner account keyHash low high amount batchNumber stage } \
        pageInfo { hasNextPage endCursor } } } }";

pub const HISTORY: &str = "query($address: Address!, $first: Int!, $after: String) { account(address: $address) { \
    operations(first: $first, after: $after) { \
        nodes { id kind sender recipient amount batchNumber stage timeline { stage at l1Tx } } \
        pageInfo { hasNextPage endCursor } } } }";

pub const DIRECTORY_ENTRY: &str =
    "query($owner: Address!) { directoryEntry(owner: $owner) { owner key { x y } keyEpoch signature } }";

/// What an [`Operation`](super::Operation) is made of.
macro_rules! operation {
    () => {
        "{ id kind sender recipient amount batchNumber stage hit timeline { stage at l1Tx } \
         promises { operationId kind batchNumber index account low high deadline signer signature } }"
    };
}

/// What a [`Draft`](super::Draft) is made of.
macro_rules! draft {
    () => {
        "{ draft { kind sender recipient recipientAccount amount domain validUntil \
             recipientEntry { owner key { x y } keyEpoch signature } \
             leaves { index low high split key { x y } leaf message } } \
           userErrors { code message path retryable retryAfter } }"
    };
}

pub const OPERATION: &str = concat!("query($id: Bytes32!) { operation(id: $id) ", operation!(), " }");

pub const BATCH: &str = "query($number: Int!) { batch(number: $number) { \
    number circuit stage start oldRoot midRoot newRoot publicInputs proof worker attempts proveMs witnessMs \
    l1Tx l1Block gasUsed timeline { stage at l1Tx } } }";

pub const OWNERSHIP_PROOF: &str = "query($index: BigInt!, $batch: Int) { \
    ownershipProof(index: $index, batch: $batch) { \
        proof { batchNumber root index owner keyHash low high amount leaf siblings finalOnL1 } \
        userErrors { code message path retryable retryAfter } } }";

pub const PREPARE_SEND: &str =
    concat!("query($input: PrepareSendInput!) { prepareSend(input: $input) ", draft!(), " }");

pub const PREPARE_WITHDRAW: &str =
    concat!("query($input: PrepareWithdrawInput!) { prepareWithdraw(input: $input) ", draft!(), " }");

pub const SEND: &str = concat!(
    "mutation($input: SendInput!) { send(input: $input) { operation ",
    operation!(),
    " userErrors { code message path retryable retryAfter } } }"
);

pub const WITHDRAW: &str = concat!(
    "mutation($input: WithdrawInput!) { withdraw(input: $input) { operation ",
    operation!(),
    " userErrors { code message path retryable retryAfter } } }"
);

pub const REGISTER_KEY: &str = "mutation($input: RegisterKeyInput!) { registerKey(input: $input) { \
    entry { owner key { x y } keyEpoch signature } userErrors { code message path retryable retryAfter } } }";
