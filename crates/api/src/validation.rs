//! Checks the shape of a body. Its error texts are Nova's, which clients show: those of the Python
//! library `jsonschema`, with values as Python writes them.

use serde_json::Map;
use serde_json::Value;

use crate::fault::Fault;
use crate::fault::echo;

/// A body, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The name of the property with this value; none for the whole body.
    name: Option<&'a str>,
    value: &'a Value,
    /// Whether additional properties are refused.
    strict: bool,
}

/// A part that is an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    members: &'a Map<String, Value>,
    strict: bool,
}

impl<'a> Part<'a> {
    pub(crate) fn whole(value: &'a Value, strict: bool) -> Self {
        Self { name: None, value, strict }
    }

    /// The value of a property.
    pub(crate) fn named(name: &'a str, value: &'a Value, strict: bool) -> Self {
        Self { name: Some(name), value, strict }
    }

    pub(crate) fn value(self) -> &'a Value {
        self.value
    }

    /// The part as an object with these properties.
    pub(crate) fn object(self, required: &[&str], optional: &[&str]) -> Result<Object<'a>, Fault> {
        let members = self.value.as_object().ok_or_else(|| self.is_not_of_type("'object'"))?;
        if let Some(missing) = required.iter().find(|name| !members.contains_key(**name)) {
            return Err(self.refused(&format!("'{missing}' is a required property")));
        }
        let known = |name: &str| required.contains(&name) || optional.contains(&name);
        if let Some(unknown) = members.keys().find(|name| !known(name)).filter(|_| self.strict) {
            let unknown = echo(unknown);
            return Err(self.refused(&format!(
                "Additional properties are not allowed ('{unknown}' was unexpected)"
            )));
        }
        Ok(Object { members, strict: self.strict })
    }

    /// The part as one of these words.
    pub(crate) fn word(self, words: &[&str]) -> Result<&'a str, Fault> {
        let text = self.value.as_str().ok_or_else(|| self.is_not_of_type("'string'"))?;
        if words.contains(&text) {
            return Ok(text);
        }
        let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        Err(self.wrong(&format!("is not one of [{}]", words.join(", "))))
    }

    pub(crate) fn is_not_of_type(self, kinds: &str) -> Fault {
        self.wrong(&format!("is not of type {kinds}"))
    }

    /// The error for this value; `why` completes the sentence that begins with it.
    pub(crate) fn wrong(self, why: &str) -> Fault {
        self.refused(&format!("{} {why}", python(self.value)))
    }

    fn refused(self, why: &str) -> Fault {
        let value = match self.value {
            Value::String(text) => echo(text),
            other => python(other),
        };
        Fault::BadRequest(self.name.map_or_else(
            || why.to_owned(),
            |name| format!("Invalid input for field/attribute {name}. Value: {value}. {why}"),
        ))
    }
}

impl<'a> Object<'a> {
    pub(crate) fn get(self, name: &'a str) -> Option<Part<'a>> {
        self.members.get(name).map(|value| Part::named(name, value, self.strict))
    }

    /// A required property, which [`Part::object`] has checked.
    pub(crate) fn part(self, name: &'a str) -> Part<'a> {
        self.get(name).unwrap_or(Part { name: Some(name), value: &Value::Null, strict: true })
    }
}

/// A value as Python writes it, cut to the length that an error text may repeat.
fn python(value: &Value) -> String {
    echo(&written(value))
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let pairs = members.iter().map(|(name, value)| format!("'{name}': {}", written(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        let value = json!({"a": [null, true, false, 1, 2.5, "x"]});
        assert_eq!(python(&value), "{'a': [None, True, False, 1, 2.5, 'x']}");
    }

    #[test]
    fn a_part_says_which_it_is_and_the_whole_does_not() {
        let body = json!({"console": {"type": "x"}});
        let whole = Part::whole(&body, true);
        assert_eq!(
            whole.object(&["server"], &[]).unwrap_err().to_string(),
            "'server' is a required property"
        );
        let console = whole.object(&["console"], &[]).unwrap().part("console");
        assert_eq!(
            console.object(&[], &[]).unwrap_err().to_string(),
            "Invalid input for field/attribute console. Value: {'type': 'x'}. Additional \
             properties are not allowed ('type' was unexpected)"
        );
        let kind = console.object(&["type"], &[]).unwrap().part("type");
        assert_eq!(
            kind.word(&["a", "b"]).unwrap_err().to_string(),
            "Invalid input for field/attribute type. Value: x. 'x' is not one of ['a', 'b']"
        );
    }

    #[test]
    fn where_nobody_is_strict_more_may_be_there() {
        let body = json!({"a": 1, "b": 2});
        assert!(Part::whole(&body, true).object(&["a"], &[]).is_err());
        assert!(Part::whole(&body, false).object(&["a"], &[]).is_ok());
        assert!(Part::whole(&body, true).object(&["a"], &["b"]).is_ok());
    }
}
