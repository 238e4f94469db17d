//! The engine on the CPU keeps the contract of engines.

#[allow(dead_code, reason = "other targets read the rest of the fixtures")]
#[path = "lm/golden.rs"]
mod golden;

#[allow(dead_code, reason = "the other engine's tests use more of it")]
mod engine;

use std::path::Path;

use aar_models::Decoder;
use engine::{Subject, keeps_the_contract};
use golden::{ALL, Golden};

impl Subject for Decoder {
    fn load_adapters(&mut self, dir: &Path) {
        Decoder::load_adapters(self, dir).expect("the adapters are read");
    }
}

#[test]
fn the_native_engine_keeps_the_contract() {
    for name in ALL {
        let golden = Golden::new(name);
        keeps_the_contract(&golden, &|| Box::new(golden.decoder()));
    }
}
