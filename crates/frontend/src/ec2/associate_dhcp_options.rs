//! AssociateDhcpOptions: `default` takes a VPC's options away. Tasks placed from then on have them,
//! as ECS tells a task whom to ask for names when its interface is attached.

use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{DhcpOptions, Vpc};
use wire::NoOutput;
use wire::ec2::AssociateDhcpOptionsRequest;

pub async fn associate_dhcp_options(
    cx: &Context,
    _caller: &Caller,
    input: AssociateDhcpOptionsRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        let options = match input.dhcp_options_id.as_deref() {
            Some("default") => None,
            id => {
                let options = find::<DhcpOptions>(txn, id)?;
                txn.put_arc(std::sync::Arc::clone(&options));
                Some(options.id.clone())
            }
        };
        txn.put(Vpc { dhcp_options: options, ..(*vpc).clone() });
        Ok(NoOutput)
    })
    .await
}
