//! The query protocols' replies: XML, written straight into a buffer. Structures are elements in
//! elements; lists and maps have names of their own for what they hold, which the models give.

use std::collections::BTreeMap;

use crate::{Blob, Sensitive, Timestamp};

pub(crate) const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

#[derive(Debug)]
pub struct XmlWriter {
    out: String,
    /// EC2 writes moments with milliseconds also where they are zero.
    timestamp_millis: bool,
}

/// A type that can be written as the content of an element.
pub trait ToXml {
    fn write_xml(&self, out: &mut XmlWriter);
}

impl XmlWriter {
    pub fn new(timestamp_millis: bool) -> XmlWriter {
        XmlWriter { out: String::with_capacity(512), timestamp_millis }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    pub fn open_with_namespace(&mut self, name: &str, namespace: &str) {
        if namespace.is_empty() {
            return self.open(name);
        }
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(" xmlns=\"");
        self.text(namespace);
        self.out.push_str("\">");
    }

    pub fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    pub fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.text(text);
        self.close(name);
    }

    /// Writes text with what XML gives a meaning escaped. A carriage return needs it because a
    /// parser would turn it into a line feed; other control characters have no form in XML 1.0.
    pub fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\r' => self.out.push_str("&#xD;"),
                '\t' | '\n' => self.out.push(c),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.out.push('\u{fffd}'),
                _ => self.out.push(c),
            }
        }
    }

    fn element(&mut self, name: &str, content: &impl ToXml) {
        self.open(name);
        content.write_xml(self);
        self.close(name);
    }

    pub fn value(&mut self, name: &str, value: Option<&impl ToXml>) {
        if let Some(value) = value {
            self.element(name, value);
        }
    }

    pub fn list<T: ToXml>(&mut self, name: &str, item: &str, list: Option<&Vec<T>>) {
        if let Some(list) = list {
            self.open(name);
            self.flat(item, Some(list));
            self.close(name);
        }
    }

    pub fn flat<T: ToXml>(&mut self, item: &str, list: Option<&Vec<T>>) {
        for value in list.into_iter().flatten() {
            self.element(item, value);
        }
    }

    pub fn map<T: ToXml>(
        &mut self,
        name: &str,
        key: &str,
        value: &str,
        map: Option<&BTreeMap<String, T>>,
    ) {
        if map.is_some() {
            self.open(name);
            self.entries("entry", key, value, map);
            self.close(name);
        }
    }

    pub fn flat_map<T: ToXml>(
        &mut self,
        name: &str,
        key: &str,
        value: &str,
        map: Option<&BTreeMap<String, T>>,
    ) {
        self.entries(name, key, value, map);
    }

    fn entries<T: ToXml>(
        &mut self,
        entry: &str,
        key_name: &str,
        value_name: &str,
        map: Option<&BTreeMap<String, T>>,
    ) {
        for (key, value) in map.into_iter().flatten() {
            self.open(entry);
            self.leaf(key_name, key);
            self.element(value_name, value);
            self.close(entry);
        }
    }
}

impl ToXml for String {
    fn write_xml(&self, out: &mut XmlWriter) {
        out.text(self);
    }
}

impl ToXml for Sensitive {
    fn write_xml(&self, out: &mut XmlWriter) {
        out.text(self.expose());
    }
}

impl ToXml for Blob {
    fn write_xml(&self, out: &mut XmlWriter) {
        out.text(&self.base64());
    }
}

impl ToXml for Timestamp {
    fn write_xml(&self, out: &mut XmlWriter) {
        let text = self.iso8601(out.timestamp_millis);
        out.text(&text);
    }
}

impl ToXml for f64 {
    fn write_xml(&self, out: &mut XmlWriter) {
        if self.is_infinite() {
            out.text(if *self > 0.0 { "Infinity" } else { "-Infinity" });
        } else {
            // Debug keeps the decimal point: 1.0, not 1.
            out.text(&format!("{self:?}"));
        }
    }
}

macro_rules! to_xml_by_display {
    ($($type:ty),*) => {$(
        impl ToXml for $type {
            fn write_xml(&self, out: &mut XmlWriter) {
                out.text(&self.to_string());
            }
        }
    )*};
}
to_xml_by_display!(bool, i32, i64);

impl<T: ToXml> ToXml for Box<T> {
    fn write_xml(&self, out: &mut XmlWriter) {
        (**self).write_xml(out);
    }
}

macro_rules! xml_output {
    ($name:ident, [$($field:ident = $kind:ident($($arg:literal),*)),* $(,)?]) => {
        impl $crate::ToXml for $name {
            #[allow(unused_variables)]
            fn write_xml(&self, out: &mut $crate::XmlWriter) {
                $(out.$kind($($arg,)* self.$field.as_ref());)*
            }
        }
    };
}
pub(crate) use xml_output;
