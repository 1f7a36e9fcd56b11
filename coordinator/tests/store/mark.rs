//! The high-water mark in a real Redis, which is lost, refuses and comes back.

use std::time::Duration;

use protocol::OperationId;
use queue::{
    CoordinatorQueue,
    redis::{RedisCoordinator, Settings},
};
use store::mark::{HighWater, Mark, RedisMark};
use testbed::redis::Redis;

fn mark(sequence: u64) -> HighWater {
    HighWater {
        sequence,
        digest: [sequence as u8; 32],
        batch_no: 7,
        deadline: 1_700_000_000,
        operation: sequence.is_multiple_of(2).then_some(OperationId([9; 32])),
    }
}

#[test]
fn the_mark_in_redis_only_rises_and_is_written_again_after_a_loss() {
    let mut redis = Redis::start().unwrap();
    let open = |url: String| RedisMark::new(&Settings::new(url, "pm:31337:0xc0")).unwrap();
    let mut one = open(redis.url());
    assert_eq!(one.read().unwrap(), None);
    // Also where one number has more digits than the other.
    for (raised, stands) in [(9, 9), (10, 10), (9, 10), (100, 100), (99, 100)] {
        one.raise(&mark(raised)).unwrap();
        assert_eq!(open(redis.url()).read().unwrap(), Some(mark(stands)));
    }
    one.reset(&mark(3)).unwrap();
    assert_eq!(one.read().unwrap(), Some(mark(3)));
    redis.wipe().unwrap();
    assert_eq!(one.read().unwrap(), None);
    one.raise(&mark(101)).unwrap();
    assert_eq!(one.read().unwrap(), Some(mark(101)));
    // One that is away is an error, and the next call finds it again.
    redis.kill().unwrap();
    let refused = one.raise(&mark(102)).unwrap_err().to_string();
    assert!(refused.contains("PM-MARK-002"), "{refused}");
    redis.restart().unwrap();
    one.raise(&mark(103)).unwrap();
    assert_eq!(one.read().unwrap(), Some(mark(103)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_and_the_queue_share_a_prefix_and_no_key() {
    let redis = Redis::start().unwrap();
    let settings = Settings::new(redis.url(), "pm:31337:0xc0");
    let queue = RedisCoordinator::connect(&settings).await.unwrap();
    let mut marked = RedisMark::new(&settings).unwrap();
    assert_eq!(marked.read().unwrap(), None, "a queue that was polled is no mark");
    marked.raise(&mark(5)).unwrap();
    redis.wipe().unwrap();
    // Written again before the next poll.
    marked.raise(&mark(6)).unwrap();
    assert!(queue.next_events(Duration::from_secs(5)).await.unwrap().wiped);
    assert_eq!(marked.read().unwrap(), Some(mark(6)));
}
