//! How many values JSON holds, counted on its bytes.

/// How many values there are at most, keys left out: each begins the input, or follows `[`, `,` or a colon. What is no JSON has a
/// count too.
pub(super) fn values(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b',' | b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn counted(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(counted).sum::<usize>(),
            Value::Object(entries) => 1 + entries.values().map(counted).sum::<usize>(),
            _ => 1,
        }
    }

    #[test]
    fn no_value_is_left_out_and_few_are_counted_twice() {
        for value in [
            json!(1),
            json!([1, 2, 3]),
            json!([[[[]]]]),
            json!({"a": {"b": {"c": {}}}}),
            json!({"a,[:": "\"[,:\\", "b": [{"c": 1, "d": "[[[["}, {}]}),
        ] {
            let (least, count) = (counted(&value), values(value.to_string().as_bytes()));
            assert!((least..=2 * least).contains(&count), "{value}: {count}, not {least}");
        }
        assert_eq!(values(br#"{"pieces":["a","b","c"]}"#), 5);
    }
}
