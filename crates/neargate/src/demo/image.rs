//! The demo's image: Neargate's own static binary, imported as `neargate image import` would. No
//! network and no other program is needed for it.

use crate::client::Client;
use crate::image::{self, Image, Wishes};
use anyhow::{Context, Result};

pub async fn make() -> Result<Image> {
    // Not /proc/self/exe: a program is named in its image as its file is.
    let binary = std::env::current_exe().context("cannot find our own binary")?;
    let wishes = Wishes { cmd: vec!["web".to_owned()], ..Wishes::default() };
    image::of_program(&binary, wishes).await.context("cannot read our own binary")
}

pub async fn push(client: &Client, image: &Image, repository: &str, tag: &str) -> Result<()> {
    image::push_silently(client, image, repository, tag).await
}
