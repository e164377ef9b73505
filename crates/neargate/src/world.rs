//! The world's two sources of surprise, time and randomness, made into values that the parts are
//! given. Nothing else in Neargate reads the clock or draws a random number.

use model::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

pub fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = since.expect("the clock is set to a time after 1970").as_millis();
        Timestamp(
            i64::try_from(ms).expect("the clock is set to a time before the year 292 million"),
        )
    })
}

pub fn random() -> Random {
    let source = SystemRandom::new();
    Arc::new(move || {
        let mut bytes = [0; 16];
        source.fill(&mut bytes).expect("the kernel gives randomness once it has booted");
        u128::from_be_bytes(bytes)
    })
}
