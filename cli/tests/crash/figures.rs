//! How long a farm takes to recover.

pub async fn measure() {}
