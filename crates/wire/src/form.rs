//! The query protocols' requests: a flat form whose names are paths (`Filter.1.Value.2`). The form
//! becomes a tree once, and each generated type takes its members from its node by AWS's names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::limits::{FORM_DEPTH_MAX, FORM_PARAMETERS_MAX};
use crate::{Blob, DecodeError, Sensitive, Timestamp};

/// A request's parameters, from the query string and the body.
#[derive(Debug, Default)]
pub struct Form<'a> {
    root: Node<'a>,
}

#[derive(Debug, Default)]
pub struct Node<'a> {
    value: Option<Cow<'a, str>>,
    children: BTreeMap<String, Node<'a>>,
}

impl<'a> Form<'a> {
    /// Parses `application/x-www-form-urlencoded` texts, which add up.
    pub fn parse(parts: &[&'a [u8]]) -> Result<Form<'a>, DecodeError> {
        let mut form = Form::default();
        let mut count = 0;
        for (name, value) in parts.iter().flat_map(|part| form_urlencoded::parse(part)) {
            count += 1;
            if count > FORM_PARAMETERS_MAX {
                return Err(DecodeError::new(format!(
                    "The request has more than {FORM_PARAMETERS_MAX} parameters"
                )));
            }
            let mut node = &mut form.root;
            for (depth, step) in name.split('.').enumerate() {
                if depth >= FORM_DEPTH_MAX {
                    return Err(DecodeError::new(format!(
                        "The parameter {name} is not recognized"
                    )));
                }
                if !node.children.contains_key(step) {
                    node.children.insert(step.to_owned(), Node::default());
                }
                node = node.children.get_mut(step).expect("it was just made sure of");
            }
            node.value = Some(value);
        }
        Ok(form)
    }

    pub fn root(&self) -> &Node<'a> {
        &self.root
    }

    /// The text of a parameter of the first level, such as `Action`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.root.children.get(name)?.value.as_deref()
    }
}

impl<'a> Node<'a> {
    pub fn text(&self) -> Result<&str, DecodeError> {
        match &self.value {
            Some(text) => Ok(text),
            None => Err(DecodeError::new("Unexpected complex element termination")),
        }
    }

    pub(crate) fn member<T: FromForm>(&self, name: &str) -> Result<Option<T>, DecodeError> {
        match self.children.get(name) {
            Some(node) => T::from_form(node).map(Some),
            None => Ok(None),
        }
    }

    /// The children in the order of their numbers: `X.1`, `X.2`, or one level further in where
    /// the protocol puts a word between (`X.member.1`, `X.entry.1`).
    fn items(&self) -> Result<Vec<&Node<'a>>, DecodeError> {
        let mut holder = self;
        if let [(name, only)] = self.children.iter().collect::<Vec<_>>()[..]
            && name.parse::<u32>().is_err()
        {
            holder = only;
        }
        let mut items = Vec::with_capacity(holder.children.len());
        for (name, node) in &holder.children {
            let Ok(number) = name.parse::<u32>() else {
                return Err(DecodeError::new(format!("{name} is not an index of a list")));
            };
            items.push((number, node));
        }
        items.sort_by_key(|(number, _)| *number);
        Ok(items.into_iter().map(|(_, node)| node).collect())
    }
}

/// A type that can be read from a form's node.
pub trait FromForm: Sized {
    fn from_form(node: &Node<'_>) -> Result<Self, DecodeError>;
}

impl FromForm for String {
    fn from_form(node: &Node<'_>) -> Result<String, DecodeError> {
        node.text().map(str::to_owned)
    }
}

impl FromForm for Sensitive {
    fn from_form(node: &Node<'_>) -> Result<Sensitive, DecodeError> {
        node.text().map(Sensitive::from)
    }
}

impl FromForm for bool {
    fn from_form(node: &Node<'_>) -> Result<bool, DecodeError> {
        match node.text()? {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            "1" => Ok(true),
            "0" => Ok(false),
            text => Err(unreadable(text, "boolean")),
        }
    }
}

fn unreadable(text: &str, wanted: &str) -> DecodeError {
    let shown: String = text.chars().take(crate::limits::VALUE_SHOWN_CHARS_MAX).collect();
    DecodeError::new(format!("Value ({shown}) is invalid. Expecting {wanted}"))
}

macro_rules! from_form_by_parse {
    ($($type:ty = $wanted:literal),*) => {$(
        impl FromForm for $type {
            fn from_form(node: &Node<'_>) -> Result<$type, DecodeError> {
                let text = node.text()?;
                text.trim().parse().map_err(|_| unreadable(text, $wanted))
            }
        }
    )*};
}
from_form_by_parse!(i32 = "integer", i64 = "long", f64 = "double");

impl FromForm for Timestamp {
    fn from_form(node: &Node<'_>) -> Result<Timestamp, DecodeError> {
        let text = node.text()?;
        Timestamp::parse(text).ok_or_else(|| unreadable(text, "timestamp"))
    }
}

impl FromForm for Blob {
    fn from_form(node: &Node<'_>) -> Result<Blob, DecodeError> {
        let text = node.text()?;
        Blob::from_base64(text).ok_or_else(|| unreadable(text, "base64"))
    }
}

impl<T: FromForm> FromForm for Box<T> {
    fn from_form(node: &Node<'_>) -> Result<Box<T>, DecodeError> {
        T::from_form(node).map(Box::new)
    }
}

impl<T: FromForm> FromForm for Vec<T> {
    /// `X=` is how clients write an empty list.
    fn from_form(node: &Node<'_>) -> Result<Vec<T>, DecodeError> {
        node.items()?.into_iter().map(T::from_form).collect()
    }
}

impl<T: FromForm> FromForm for BTreeMap<String, T> {
    fn from_form(node: &Node<'_>) -> Result<BTreeMap<String, T>, DecodeError> {
        let mut map = BTreeMap::new();
        for item in node.items()? {
            let (key, value) = (item.member("key")?, item.member("value")?);
            match (key, value) {
                (Some(key), Some(value)) => map.insert(key, value),
                _ => return Err(DecodeError::new("A map's entry needs a key and a value")),
            };
        }
        Ok(map)
    }
}

macro_rules! form_input {
    ($name:ident, [$($field:ident = $wire:literal),* $(,)?]) => {
        impl $name {
            /// The members a request may set, by AWS's names.
            pub const MEMBERS: &'static [&'static str] = &[$($wire),*];
        }

        $crate::form_reader!($name, [$($field = $wire),*]);
    };
}
pub(crate) use form_input;

macro_rules! form_reader {
    ($name:ident, [$($field:ident = $wire:literal),* $(,)?]) => {
        impl $crate::FromForm for $name {
            #[allow(unused_variables)]
            fn from_form(node: &$crate::Node<'_>) -> Result<$name, $crate::DecodeError> {
                Ok($name { $($field: node.member($wire)?,)* })
            }
        }
    };
}
pub(crate) use form_reader;
