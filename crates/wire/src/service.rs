//! What a service is, as data: its names, its protocol and the list of all its operations. The
//! generated modules fill these tables in.

/// A way of putting a request and a reply on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    AwsJson10,
    AwsJson11,
    AwsQuery,
    Ec2Query,
    RpcV2Cbor,
}

impl Protocol {
    pub fn is_json(self) -> bool {
        matches!(self, Protocol::AwsJson10 | Protocol::AwsJson11)
    }

    pub fn is_query(self) -> bool {
        matches!(self, Protocol::AwsQuery | Protocol::Ec2Query)
    }

    /// The content type of a reply.
    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::AwsJson10 => "application/x-amz-json-1.0",
            Protocol::AwsJson11 => "application/x-amz-json-1.1",
            Protocol::AwsQuery | Protocol::Ec2Query => "text/xml;charset=UTF-8",
            Protocol::RpcV2Cbor => "application/cbor",
        }
    }
}

#[derive(Debug)]
pub struct Service {
    /// Our name of it: the module.
    pub id: &'static str,
    /// AWS's name of it, as SDKs print it.
    pub service_id: &'static str,
    /// The service in a signature's scope.
    pub signing_name: &'static str,
    pub protocol: Protocol,
    /// What stands before the dot in `X-Amz-Target`; empty for the query protocols.
    pub target_prefix: &'static str,
    pub api_version: &'static str,
    /// Empty for the JSON protocols.
    pub xml_namespace: &'static str,
    /// All operations of the service, in AWS's alphabetical order.
    pub operations: &'static [Operation],
    pub errors: &'static [ErrorEntry],
}

impl Service {
    /// Whether it speaks the query protocol and its successors. Its errors then have two names:
    /// the model's for those who speak JSON or CBOR, and the query protocol's.
    pub fn speaks_many(&self) -> bool {
        self.protocol == Protocol::AwsQuery && !self.target_prefix.is_empty()
    }

    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let found = self.operations.binary_search_by(|operation| operation.name.cmp(name));
        found.ok().map(|index| &self.operations[index])
    }

    pub fn error(&self, code: &str) -> Option<&'static ErrorEntry> {
        self.errors.iter().find(|entry| entry.code == code)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    pub name: &'static str,
    /// The input's shape.
    pub input: &'static str,
    /// The output's shape, or empty where the operation answers with nothing.
    pub output: &'static str,
    pub http_method: &'static str,
    pub path: &'static str,
}

impl Operation {
    pub const fn new(
        name: &'static str,
        input: &'static str,
        output: &'static str,
        http_method: &'static str,
        path: &'static str,
    ) -> Operation {
        Operation { name, input, output, http_method, path }
    }
}

/// An error that the model of a service names.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorEntry {
    pub shape: &'static str,
    /// What goes over the wire; differs from the shape's name in the query services.
    pub code: &'static str,
    pub status: u16,
}
