//! AWS's string enumerations. AWS adds values without notice, so none of ours is closed: a value
//! the model doesn't know is kept as it came, and goes out as it came.

/// What the generated enumerations have in common.
pub trait Choice: Sized {
    /// The values the model knows.
    const VALUES: &'static [&'static str];

    fn as_str(&self) -> &str;
    fn parse(text: &str) -> Self;
    fn is_recognized(&self) -> bool;
}

/// The JSON reading shared by all enumerations.
pub(crate) struct ChoiceVisitor<T>(pub std::marker::PhantomData<T>);

impl<T: Choice> serde::de::Visitor<'_> for ChoiceVisitor<T> {
    type Value = T;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::parse(text))
    }
}

macro_rules! string_enum {
    ($name:ident, [$($variant:ident = $value:literal),* $(,)?]) => {
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($variant,)*
            /// A value the model doesn't know.
            Unrecognized(String),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $value,)*
                    $name::Unrecognized(text) => text,
                }
            }
        }

        impl $crate::Choice for $name {
            const VALUES: &'static [&'static str] = &[$($value),*];

            fn as_str(&self) -> &str {
                $name::as_str(self)
            }

            fn parse(text: &str) -> $name {
                match text {
                    $($value => $name::$variant,)*
                    _ => $name::Unrecognized(text.to_owned()),
                }
            }

            fn is_recognized(&self) -> bool {
                !matches!(self, $name::Unrecognized(_))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $crate::Choice::parse(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<$name, D::Error> {
                input.deserialize_str($crate::choice::ChoiceVisitor(std::marker::PhantomData))
            }
        }

        impl $crate::FromForm for $name {
            fn from_form(node: &$crate::Node<'_>) -> Result<$name, $crate::DecodeError> {
                node.text().map($crate::Choice::parse)
            }
        }

        impl $crate::ToXml for $name {
            fn write_xml(&self, out: &mut $crate::XmlWriter) {
                out.text(self.as_str());
            }
        }
    };
}
pub(crate) use string_enum;
