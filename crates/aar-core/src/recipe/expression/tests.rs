use super::*;
use proptest::prelude::*;

const ROW: Variables = Variables {
    a: -1.3,
    b: -0.7,
    m: 0.6,
    q: 0.8,
    t: 0.25,
    h: 1.7,
};

fn value(text: &str) -> f64 {
    // Something that training moves must be there; 0 times it changes nothing.
    let text = format!("0*m + ({text})");
    Expression::parse(&text).unwrap().at(&ROW).0
}

fn error(text: &str) -> String {
    Expression::parse(text).unwrap_err().to_string()
}

#[test]
fn operators_bind_as_in_mathematics() {
    for (text, expected) in [
        ("1 + 2 * 3", 7.0),
        ("7 - 2 - 1", 4.0),
        ("8 / 4 / 2", 1.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("2 ^ -1 * 4", 2.0),
        ("(1 + 2) * -3", -9.0),
        ("2 - -1", 3.0),
        ("1 + 1 < 3", 1.0),
        ("3 <= 2", 0.0),
        ("2 >= 2", 1.0),
        ("(2 > 3) + 1", 1.0),
        (".5e1 + 1E-1", 5.1),
        ("max(1, min(5, 3))", 3.0),
        ("if(q > 0.5, 10, 20)", 10.0),
        ("if(t - t, 10, 20)", 20.0),
        ("abs(-3) + sqrt(4) + ln(exp(2)) + tanh(0)", 7.0),
        ("sigmoid(0)\n + fixed(a - b + 0.6)", 0.5),
    ] {
        assert!((value(text) - expected).abs() < 1e-12, "{text}");
    }
    assert!((value("softplus(m)") - (1.0 + 0.6f64.exp()).ln()).abs() < 1e-12);
}

#[test]
fn a_mistake_is_named_with_its_place_and_what_would_fit() {
    let known = "expected one of a, b, m, q, t, h, or a function: \
                 ln, exp, sqrt, abs, sigmoid, tanh, softplus, max, min, if, fixed";
    assert_eq!(
        error("m + logit"),
        format!("character 5: found `logit`, {known}")
    );
    for (text, expected) in [
        (
            "",
            "character 1: found the end, expected a number, a name or `(`",
        ),
        (
            "m +",
            "character 4: found the end, expected a number, a name or `(`",
        ),
        (
            "m q",
            "character 3: found `q`, expected an operator, or nothing more",
        ),
        (
            "2m",
            "character 2: found `m`, expected an operator, or nothing more",
        ),
        ("ln m", "character 4: found `m`, expected `(`"),
        ("max(m)", "character 6: found `)`, expected `,`"),
        ("max(m, q", "character 9: found the end, expected `)`"),
        ("ln(m, q)", "character 5: found `,`, expected `)`"),
        (
            "m * 1.2.3",
            "character 5: found `1.2.3`, expected a finite number, such as 0.5 or 1e-3",
        ),
        (
            "m * 1e999",
            "character 5: found `1e999`, expected a finite number, such as 0.5 or 1e-3",
        ),
        (
            "é·m",
            "character 1: found 'é', expected a number, a name or an operator",
        ),
        (
            "m -\u{a0}§",
            "character 5: found '§', expected a number, a name or an operator",
        ),
        (
            "0 < m < 1",
            "character 7: found `<`, expected brackets around one of two comparisons",
        ),
        (
            "q * t",
            "character 6: found the end, expected a formula with a, b, m or h: nothing else is \
             moved by training",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn long_and_deep_formulas_are_refused() {
    assert!(Expression::parse(&format!("m{}", "+m".repeat(999))).is_ok());
    assert_eq!(
        error(&"m+".repeat(1001)),
        "character 1: found 2002 bytes, expected at most 2000"
    );
    for (open, close) in [("(", ")"), ("ln(", ")"), ("-", ""), ("2^", "")] {
        let nested = |levels| format!("{}m{}", open.repeat(levels), close.repeat(levels));
        assert!(Expression::parse(&nested(MAX_DEPTH - 1)).is_ok(), "{open}");
        let said = error(&nested(MAX_DEPTH));
        assert!(
            said.ends_with("at most 64 levels inside one another"),
            "{said}"
        );
    }
}

/// Central differences by a, b, m and h.
fn differences(expression: &Expression, row: &Variables) -> [f64; 4] {
    let step = 1e-6;
    let change = |set: fn(&mut Variables, f64)| {
        let at = |by: f64| {
            let mut moved = *row;
            set(&mut moved, by);
            expression.at(&moved).0
        };
        (at(step) - at(-step)) / (2.0 * step)
    };
    [
        change(|row, by| row.a += by),
        change(|row, by| row.b += by),
        change(|row, by| row.m += by),
        change(|row, by| row.h += by),
    ]
}

fn assert_exact(text: &str, row: &Variables) {
    let expression = Expression::parse(text).unwrap();
    let slopes = expression.at(row).1;
    let found = [slopes.a, slopes.b, slopes.m, slopes.h];
    for (slope, numeric) in found.into_iter().zip(differences(&expression, row)) {
        let scale = 1.0 + numeric.abs();
        assert!(
            (slope - numeric).abs() < 1e-6 * scale,
            "{text}: {slope} {numeric}"
        );
    }
}

#[test]
fn slopes_agree_with_differences() {
    for text in [
        "-(1-q)*a - q*b",
        "a*b*m*h / (a - 2*b)",
        "ln(h + m^2) - exp(a) * sqrt(h)",
        "abs(a) + abs(m) + sigmoid(m)*tanh(b) - softplus(-m)",
        "h^m + m^3 + 2^a + (h*h)^-0.5",
        "max(a, b) - min(m, h) + max(m, 7)",
        "if(m > 0, m*h, a) + if(q < t, a, b^2)",
        "q*t*h - -m",
    ] {
        assert_exact(text, &ROW);
        assert_exact(
            text,
            &Variables {
                m: -1.1,
                q: 0.1,
                ..ROW
            },
        );
    }
}

#[test]
fn what_is_fixed_has_a_value_and_no_slope() {
    let expression = Expression::parse("fixed(m) * m").unwrap();
    let (value, slopes) = expression.at(&ROW);
    assert_eq!((value, slopes.m), (0.6 * 0.6, 0.6));
}

#[test]
fn given_numbers_have_no_slope_even_where_it_would_be_infinite() {
    let zero = Variables { q: 0.0, ..ROW };
    let (value, slopes) = Expression::parse("m + sqrt(q) + q^0.5").unwrap().at(&zero);
    assert_eq!((value, slopes.m), (0.6, 1.0));
    // The branch that is not taken does not matter.
    let entropy = Expression::parse("m + if(q > 0, q*ln(q), 0)").unwrap();
    assert_eq!(entropy.at(&zero).0, 0.6);
}

#[test]
fn what_is_not_a_number_stays_so() {
    let row = Variables { m: -1.0, ..ROW };
    for text in [
        "max(ln(m), 1)",
        "max(1, ln(m))",
        "min(ln(m), 1)",
        "min(1, ln(m))",
        "ln(m) < 1",
        "if(ln(m), 1, 1)",
        "softplus(ln(m))",
        "0 * ln(m)",
    ] {
        assert!(
            Expression::parse(text).unwrap().at(&row).0.is_nan(),
            "{text}"
        );
    }
    let kink = Expression::parse("ln(m)").unwrap();
    assert!(!kink.at(&Variables { m: 0.0, ..ROW }).1.m.is_finite());
}

#[test]
fn a_formula_is_kept_as_its_text() {
    let json = "\"m ^ 2  + 1\"";
    let expression: Expression = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&expression).unwrap(), json);
    assert_eq!(expression.to_string(), "m ^ 2  + 1");
    assert!(serde_json::from_str::<Expression>("\"x\"").is_err());
}

/// Formulas of all kinds that can be computed everywhere.
fn smooth() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["a", "b", "m", "q", "t", "h", "0.5", "2", "1e-1"]);
    leaf.prop_map(str::to_owned)
        .prop_recursive(5, 40, 2, |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                (pair.clone(), prop::sample::select(vec!["+", "-", "*"]))
                    .prop_map(|((x, y), op)| format!("({x} {op} {y})")),
                (
                    inner,
                    prop::sample::select(vec!["tanh", "sigmoid", "softplus", "-"])
                )
                    .prop_map(|(x, f)| format!("{f}({x})")),
                pair.prop_map(|(x, y)| format!("tanh({x}) / (1 + sigmoid({y}))")),
            ]
        })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn any_mixture_of_tokens_is_read_or_refused_and_computed(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "m", "q", "t", "h", "1", ".", "2e", "0.5", "+", "-", "*", "/", "^", "<", "<=", ">",
            "(", ")", ",", "ln", "exp", "max(", "if(", "fixed(", "sqrt(", " ", "é", "1e-300", "9e99",
        ]), 0..60),
    ) {
        let text = tokens.concat();
        if let Ok(expression) = Expression::parse(&text) {
            for m in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
                let _ = expression.at(&Variables { m, ..ROW });
            }
            let again = Expression::parse(&expression.to_string());
            prop_assert_eq!(again, Ok(expression));
        }
    }

    #[test]
    fn slopes_of_random_formulas_are_exact(text in smooth(), m in -2.0..2.0f64) {
        let text = format!("0.1*m + {text}");
        let row = Variables { m, ..ROW };
        let expression = Expression::parse(&text).unwrap();
        let slopes = expression.at(&row).1;
        let found = [slopes.a, slopes.b, slopes.m, slopes.h];
        for (slope, numeric) in found.into_iter().zip(differences(&expression, &row)) {
            let scale = 1.0 + slope.abs() + expression.at(&row).0.abs();
            prop_assert!((slope - numeric).abs() < 1e-5 * scale, "{}: {} {}", text, slope, numeric);
        }
    }
}
