//! The built-in problems from generator to directory, with small made-up states.

use crate::fixture::{SALT, SPECS};
use aar_core::digest::Digest;
use aar_core::id::Seed;
use aar_core::row::Item;
use aar_problem::generate::BuiltinProblem;
use aar_problem::{
    Bundle, ModelSource, Pool, Tensor, builtin_rows, check, draw_builtin, write_problem,
};

#[test]
fn every_builtin_problem_makes_a_good_directory() {
    let home = tempfile::tempdir().unwrap();
    for problem in BuiltinProblem::ALL {
        let pool_rows = builtin_rows(problem).unwrap();
        let rows = pool_rows.len();
        let options = if matches!(pool_rows[0].item, Item::Pair { .. }) {
            2
        } else {
            1
        };
        let tensor = |width: usize| {
            let data = (0..rows * options * width)
                .map(|i| (i as f32).sin())
                .collect();
            Tensor {
                data,
                rows,
                options,
                width,
            }
        };
        let activations = vec![(SPECS[0], tensor(SPECS[0].width))];
        let pool = Pool {
            rows: pool_rows,
            activations,
            weak: tensor(3),
        };
        let model = |name: &str| ModelSource {
            name: name.to_owned(),
            weights: Digest::ZERO,
        };
        let id = format!("{}@1", problem.name()).parse().unwrap();
        let bytes = Bundle::encode(id, model("strong"), model("weak"), "test", &pool).unwrap();
        let bundle = Bundle::open(&bytes).unwrap();
        let parts = draw_builtin(problem, &bundle, Seed(11), SALT).unwrap();
        let dir = home.path().join(problem.name());
        write_problem(&dir, &parts).unwrap();
        let report = check(&dir).unwrap();
        let wanted = problem.split_sizes().into();
        assert_eq!(
            report.manifest.rows, wanted,
            "{problem:?} gives its splits exactly"
        );
        assert_eq!(report.manifest.duplicates, 0, "{problem:?}");
        assert!(report.manifest.practice);
    }
}
