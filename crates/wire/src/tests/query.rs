//! The query protocols: forms in, XML out. The cases are those of AWS's public protocol tests,
//! for awsQuery and for EC2's dialect of it.

use std::collections::BTreeMap;

use crate::form::{Form, FromForm};
use crate::{Blob, Sensitive, Timestamp, ToXml, XmlWriter, ec2, sts};

#[derive(Clone, Debug, Default, PartialEq)]
struct In {
    foo: Option<String>,
    baz: Option<bool>,
    bam: Option<i32>,
    boo: Option<f64>,
    qux: Option<Blob>,
    time: Option<Timestamp>,
    list: Option<Vec<String>>,
    complex: Option<Vec<In>>,
    flattened: Option<Vec<String>>,
    nested: Option<Box<In>>,
    map: Option<BTreeMap<String, String>>,
    complex_map: Option<BTreeMap<String, In>>,
    map_of_lists: Option<BTreeMap<String, Vec<String>>>,
    choice: Option<Size>,
    secret: Option<Sensitive>,
}

crate::form_input!(
    In,
    [
        foo = "Foo",
        baz = "Baz",
        bam = "Bam",
        boo = "Boo",
        qux = "Qux",
        time = "Time",
        list = "ListArg",
        complex = "ComplexListArg",
        flattened = "Hi",
        nested = "Nested",
        map = "MapArg",
        complex_map = "ComplexMapArg",
        map_of_lists = "MapOfLists",
        choice = "FooEnum",
        secret = "Secret",
    ]
);

crate::string_enum!(Size, [Small = "Foo", Large = "1"]);

fn read(form: &str) -> In {
    let form = Form::parse(&[form.as_bytes()]).unwrap();
    In::from_form(form.root()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(form: &str) -> String {
    match Form::parse(&[form.as_bytes()]) {
        Ok(form) => In::from_form(form.root()).expect_err("it can't be read").to_string(),
        Err(error) => error.to_string(),
    }
}

fn strings(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|&text| text.to_owned()).collect())
}

#[test]
fn scalars() {
    assert_eq!(read("Foo=val1&Bar=val2").foo.as_deref(), Some("val1"));
    assert_eq!(read("Foo=a+b%2Bc%26").foo.as_deref(), Some("a b+c&"));
    assert_eq!(read("Foo=").foo.as_deref(), Some(""));
    assert_eq!(read("Baz=true").baz, Some(true));
    assert_eq!(read("Baz=false").baz, Some(false));
    assert_eq!(read("Bam=10").bam, Some(10));
    assert_eq!(read("Boo=10.8").boo, Some(10.8));
    assert_eq!(read("Boo=-Infinity").boo, Some(f64::NEG_INFINITY));
    assert!(read("Boo=NaN").boo.unwrap().is_nan());
    assert_eq!(read("Qux=dmFsdWU%3D").qux, Some(Blob(b"value".to_vec())));
    assert_eq!(read("FooEnum=Foo").choice, Some(Size::Small));
    assert_eq!(read("FooEnum=XXL").choice, Some(Size::Unrecognized("XXL".to_owned())));
    let moment = Some(Timestamp::from_unix_ms(1_422_172_800_000));
    assert_eq!(read("Time=2015-01-25T08%3A00%3A00Z").time, moment);
    assert_eq!(read("Time=1422172800").time, moment);
    assert_eq!(read(""), In::default());
    assert_eq!(In::MEMBERS.first(), Some(&"Foo"));
}

#[test]
fn lists() {
    let abc = strings(&["foo", "bar", "baz"]);
    let member = "ListArg.member.1=foo&ListArg.member.2=bar&ListArg.member.3=baz";
    assert_eq!(read(member).list, abc);
    assert_eq!(read("ListArg.1=foo&ListArg.2=bar&ListArg.3=baz").list, abc);
    assert_eq!(read("ListArg.item.1=A&ListArg.item.2=B").list, strings(&["A", "B"]));
    assert_eq!(read("Hi.1=A&Hi.2=B").flattened, strings(&["A", "B"]));
    assert_eq!(read("ListArg=").list, strings(&[]));
    // The numbers give the order, not the text's; gaps are no elements.
    let many: Vec<String> = (1..=12).rev().map(|n| format!("Hi.{n}={n}")).collect();
    let wanted: Vec<String> = (1..=12).map(|n: i32| n.to_string()).collect();
    assert_eq!(read(&many.join("&")).flattened, Some(wanted));
    assert_eq!(read("Hi.7=A&Hi.9=B").flattened, strings(&["A", "B"]));
    let complex = "ComplexListArg.member.1.Foo=hello&ComplexListArg.member.2.Foo=hola";
    let foos: Vec<_> = read(complex).complex.unwrap().into_iter().map(|item| item.foo).collect();
    assert_eq!(foos, [Some("hello".to_owned()), Some("hola".to_owned())]);
}

#[test]
fn structures_and_maps() {
    let nested = read("Nested.Foo=foo&Nested.Baz=true&Nested.Nested.Foo=baz").nested.unwrap();
    assert_eq!(nested.foo.as_deref(), Some("foo"));
    assert_eq!(nested.nested.unwrap().foo.as_deref(), Some("baz"));
    let list = "Nested.ListArg.member.1=A&Nested.ListArg.member.2=B";
    assert_eq!(read(list).nested.unwrap().list, strings(&["A", "B"]));
    let map: BTreeMap<String, String> =
        [("bar", "Bar"), ("foo", "Foo")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let entries = "MapArg.entry.1.key=bar&MapArg.entry.1.value=Bar\
        &MapArg.entry.2.key=foo&MapArg.entry.2.value=Foo";
    assert_eq!(read(entries).map, Some(map.clone()));
    assert_eq!(read(&entries.replace("entry.", "")).map, Some(map));
    let complex = "ComplexMapArg.entry.1.key=bar&ComplexMapArg.entry.1.value.Foo=Bar";
    assert_eq!(read(complex).complex_map.unwrap()["bar"].foo.as_deref(), Some("Bar"));
    let lists = "MapOfLists.entry.1.key=k&MapOfLists.entry.1.value.member.1=C\
        &MapOfLists.entry.1.value.member.2=D";
    assert_eq!(read(lists).map_of_lists.unwrap()["k"], ["C", "D"]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    assert_eq!(refusal("Bam=ten"), "Value (ten) is invalid. Expecting integer");
    assert_eq!(refusal("Bam=2147483648"), "Value (2147483648) is invalid. Expecting integer");
    assert_eq!(refusal("Baz=yes"), "Value (yes) is invalid. Expecting boolean");
    assert_eq!(refusal("Time=soon"), "Value (soon) is invalid. Expecting timestamp");
    assert_eq!(refusal("Qux=*"), "Value (*) is invalid. Expecting base64");
    assert_eq!(refusal("Foo.1=a"), "Unexpected complex element termination");
    assert_eq!(refusal("Hi.1=a&Hi.x=b"), "x is not an index of a list");
    assert_eq!(refusal("MapArg.entry.1.key=a"), "A map's entry needs a key and a value");
    assert!(refusal(&format!("{}=1", "a.".repeat(20))).ends_with("is not recognized"));
    let many: Vec<String> = (0..10_001).map(|n| format!("a{n}=")).collect();
    assert!(refusal(&many.join("&")).contains("more than 10000 parameters"));
}

#[test]
fn ec2s_own_names() {
    let text = "Action=DescribeSubnets&Version=2016-11-15&Filter.1.Name=vpc-id\
        &Filter.1.Value.1=vpc-1&Filter.1.Value.2=vpc-2&SubnetId.1=subnet-1&MaxResults=5";
    let form = Form::parse(&[text.as_bytes()]).unwrap();
    let request = ec2::DescribeSubnetsRequest::from_form(form.root()).unwrap();
    assert_eq!(request.subnet_ids, strings(&["subnet-1"]));
    assert_eq!(request.max_results, Some(5));
    let filter = &request.filters.unwrap()[0];
    assert_eq!(filter.name.as_deref(), Some("vpc-id"));
    assert_eq!(filter.values, strings(&["vpc-1", "vpc-2"]));
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Out {
    text: Option<String>,
    integer: Option<i32>,
    double: Option<f64>,
    boolean: Option<bool>,
    blob: Option<Blob>,
    time: Option<Timestamp>,
    list: Option<Vec<String>>,
    flat: Option<Vec<i64>>,
    nested: Option<Box<Out>>,
    items: Option<Vec<Out>>,
    map: Option<BTreeMap<String, Out>>,
    flat_map: Option<BTreeMap<String, String>>,
    choice: Option<Size>,
}

crate::xml_output!(
    Out,
    [
        text = value("text"),
        integer = value("integer"),
        double = value("DoubleDribble"),
        boolean = value("boolean"),
        blob = value("data"),
        time = value("normal"),
        list = list("stringList", "member"),
        flat = flat("flat"),
        nested = value("nested"),
        items = list("itemSet", "item"),
        map = map("myMap", "Attribute", "Setting"),
        flat_map = flat_map("KVP", "K", "V"),
        choice = value("fooEnum"),
    ]
);

fn xml(out: &Out) -> String {
    let mut writer = XmlWriter::new(false);
    out.write_xml(&mut writer);
    String::from_utf8(writer.finish()).unwrap()
}

#[test]
fn xml_scalars() {
    let text = |text: &str| xml(&Out { text: Some(text.to_owned()), ..Out::default() });
    assert_eq!(text(""), "<text></text>");
    assert_eq!(text("<a href=\"&\">"), "<text>&lt;a href=&quot;&amp;&quot;&gt;</text>");
    assert_eq!(text("a\r\n\tb\u{1}é"), "<text>a&#xD;\n\tb\u{fffd}é</text>");
    let double = |double| xml(&Out { double: Some(double), ..Out::default() });
    assert_eq!(double(6.5), "<DoubleDribble>6.5</DoubleDribble>");
    assert_eq!(double(f64::NAN), "<DoubleDribble>NaN</DoubleDribble>");
    assert_eq!(double(f64::NEG_INFINITY), "<DoubleDribble>-Infinity</DoubleDribble>");
    let out = Out {
        integer: Some(3),
        boolean: Some(true),
        blob: Some(Blob(b"value".to_vec())),
        time: Some(Timestamp::from_unix_ms(1_398_796_238_000)),
        choice: Some(Size::Large),
        ..Out::default()
    };
    assert_eq!(
        xml(&out),
        "<integer>3</integer><boolean>true</boolean><data>dmFsdWU=</data>\
         <normal>2014-04-29T18:30:38Z</normal><fooEnum>1</fooEnum>"
    );
    assert_eq!(xml(&Out::default()), "");
}

#[test]
fn xml_collections() {
    let foo = || Out { text: Some("Foo".to_owned()), ..Out::default() };
    let out = Out {
        list: strings(&["foo", "bar"]),
        flat: Some(vec![1, 2]),
        nested: Some(Box::new(foo())),
        items: Some(vec![foo(), foo()]),
        map: Some(BTreeMap::from([("a".to_owned(), foo())])),
        flat_map: Some(BTreeMap::from([("a".to_owned(), "A".to_owned())])),
        ..Out::default()
    };
    assert_eq!(
        xml(&out),
        "<stringList><member>foo</member><member>bar</member></stringList>\
         <flat>1</flat><flat>2</flat><nested><text>Foo</text></nested>\
         <itemSet><item><text>Foo</text></item><item><text>Foo</text></item></itemSet>\
         <myMap><entry><Attribute>a</Attribute><Setting><text>Foo</text></Setting></entry></myMap>\
         <KVP><K>a</K><V>A</V></KVP>"
    );
    let empty = Out { list: Some(Vec::new()), flat: Some(Vec::new()), ..Out::default() };
    assert_eq!(xml(&empty), "<stringList></stringList>");
}

#[test]
fn generated_shapes_have_ec2s_element_names() {
    let subnet = ec2::Subnet {
        subnet_id: Some("subnet-1".to_owned()),
        available_ip_address_count: Some(250),
        map_public_ip_on_launch: Some(false),
        tags: Some(vec![ec2::Tag { key: Some("Name".to_owned()), value: Some("a".to_owned()) }]),
        ..ec2::Subnet::default()
    };
    let reply = ec2::DescribeSubnetsResult { subnets: Some(vec![subnet]), ..Default::default() };
    let mut writer = XmlWriter::new(true);
    reply.write_xml(&mut writer);
    let text = String::from_utf8(writer.finish()).unwrap();
    assert_eq!(
        text,
        "<subnetSet><item><availableIpAddressCount>250</availableIpAddressCount>\
         <mapPublicIpOnLaunch>false</mapPublicIpOnLaunch><subnetId>subnet-1</subnetId>\
         <tagSet><item><key>Name</key><value>a</value></item></tagSet></item></subnetSet>"
    );
    let who = sts::GetCallerIdentityResponse {
        account: Some("000000000000".to_owned()),
        ..Default::default()
    };
    let mut writer = XmlWriter::new(false);
    who.write_xml(&mut writer);
    assert_eq!(writer.finish(), b"<Account>000000000000</Account>");
}
