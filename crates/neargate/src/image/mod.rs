//! `neargate image`: images without docker. `import` makes one out of what its user has (a folder,
//! an archive that another tool wrote, one static program) and pushes it through the public API, as
//! any client would. The demo's image goes the same way.

mod archive;
mod command;
mod elf;
mod folder;
mod parts;
mod progress;
mod push;

use crate::client::Client;
use crate::data_dir::Endpoint;
use anyhow::{Context, Result, bail};
use archive::{Asked, Form, Place};
use model::manifest::{is_repository_name, is_tag};
use progress::{Counter, Progress, size};
use runtime::image::Platform;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use command::Command;
use command::Import;
pub use parts::{Image, Wishes};

const TAG_DEFAULT: &str = "latest";

pub async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Import(import) => Box::pin(self::import(import)).await,
    }
}

async fn import(import: &Import) -> Result<()> {
    let client = Client::of(&import.folder.data_dir)?;
    let (repository, tag) = name_and_tag(&import.name, client.endpoint())?;
    let source = Source {
        path: import.source.clone(),
        platform: import.platform,
        force: import.force,
        wishes: Wishes {
            entrypoint: words(&import.entrypoint).context("--entrypoint")?,
            cmd: words(&import.cmd).context("--cmd")?,
            env: import.env.clone(),
            workdir: import.workdir.clone(),
            user: import.user.clone(),
        },
    };
    // First, because nobody wants to hear after minutes that there is no server.
    let login = push::Login::of(&client).await?;
    let progress = Progress::to_stderr();
    let image = make(source, progress).await?;
    let (uri, made) = push::repository(&client, &repository).await?;
    if made {
        progress.say(&format!("made repository {repository}"));
    }
    push::push(&login, &image, &repository, &tag, progress).await?;
    for note in &image.notes {
        progress.say(&format!("note: {note}"));
    }
    let (digest, bytes) = (&image.manifest.digest, size(image.bytes()));
    let layers = match image.layers.len() {
        1 => "one layer".to_owned(),
        many => format!("{many} layers"),
    };
    progress.say(&format!("pushed {digest}, {layers}, {bytes}"));
    println!("{uri}:{tag}");
    Ok(())
}

/// What an image is to be made of.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub platform: Option<Platform>,
    /// Take a program that would not start, too.
    pub force: bool,
    pub wishes: Wishes,
}

async fn make(source: Source, progress: Progress) -> Result<Image> {
    let counter = Counter::default();
    let what = format!("read {}", source.path.display());
    let counted = counter.clone();
    let work = async move {
        let made = tokio::task::spawn_blocking(move || source.make(&counted)).await;
        made.context("making the image was cut off")?
    };
    progress.during(&what, None, &counter, work).await
}

impl Source {
    fn make(&self, counter: &Counter) -> Result<Image> {
        let path = &self.path;
        if path.as_os_str() == "-" {
            let file = archive::spooled(std::io::stdin().lock()).context("standard input")?;
            return self.of_file(file, counter).context("standard input");
        }
        let metadata =
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_dir() {
            return self.of_folder(counter);
        }
        if !metadata.is_file() {
            bail!("{} is neither a file nor a folder", path.display());
        }
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.of_file(file, counter).with_context(|| path.display().to_string())
    }

    fn of_folder(&self, counter: &Counter) -> Result<Image> {
        let place = Place::Folder(self.path.clone());
        let asked = self.asked(counter);
        let told = || self.path.display().to_string();
        match Form::of(&place) {
            Form::Docker => archive::docker(&place, &asked).with_context(told),
            Form::Oci => archive::oci(&place, &asked).with_context(told),
            Form::Files => {
                let packed = folder::pack(&self.path, counter)?;
                let platform = self.platform.unwrap_or_else(Platform::host);
                let mut image = Image::of_layer(packed.layer, &self.wishes, platform)?;
                image.notes.extend(packed.notes);
                Ok(image)
            }
        }
    }

    fn of_file(&self, file: File, counter: &Counter) -> Result<Image> {
        let span = parts::Span::whole(file)?;
        if span.bytes == 0 {
            bail!("the file is empty: there is nothing to make an image of");
        }
        let head = span.head::<4>()?;
        if head == elf::MAGIC {
            return self.of_program(&span, counter);
        }
        if head.starts_with(b"#!") {
            bail!(
                "it is a script, and an image of it alone would lack its interpreter: import a \
                 folder that holds both"
            );
        }
        let place = Place::tar(archive::inflated(span, &self.path)?)?;
        let asked = self.asked(counter);
        match Form::of(&place) {
            Form::Docker => archive::docker(&place, &asked),
            Form::Oci => archive::oci(&place, &asked),
            Form::Files => archive::files(&place, &asked),
        }
    }

    fn of_program(&self, span: &parts::Span, counter: &Counter) -> Result<Image> {
        let program = elf::inspect(&span.file)?;
        if !program.is_static() && !self.force {
            bail!("{}", needs(&program));
        }
        let platform = program.platform;
        if let Some(wanted) = self.platform.filter(|wanted| *wanted != platform) {
            bail!("the program is for {platform}, not {wanted}");
        }
        let name = self.path.file_name().filter(|name| *name != "-");
        let name = name.and_then(|name| name.to_str()).unwrap_or("program");
        let packed = folder::pack_program(span, name, counter)?;
        let mut wishes = self.wishes.clone();
        if wishes.entrypoint.is_empty() {
            wishes.entrypoint = vec![format!("/{name}")];
        }
        Image::of_layer(packed.layer, &wishes, platform)
    }

    fn asked<'a>(&'a self, counter: &'a Counter) -> Asked<'a> {
        Asked { wishes: &self.wishes, platform: self.platform, counter }
    }
}

/// Why a program would not start in an image of its own, and what to do.
fn needs(program: &elf::Program) -> String {
    let mut missing: Vec<&str> = program.interpreter.iter().map(String::as_str).collect();
    missing.extend(program.needed.iter().map(String::as_str));
    format!(
        "the program is dynamically linked: it needs {}, and an image of it alone holds none of \
         them. Link it statically (C: -static; Go: CGO_ENABLED=0; Rust: -C \
         target-feature=+crt-static), import a folder that holds them too, or say --force",
        missing.join(", ")
    )
}

/// One value that is a JSON list, or a word each.
fn words(values: &[String]) -> Result<Vec<String>> {
    match values {
        [list] if list.starts_with('[') => {
            serde_json::from_str(list).context("a JSON list of words looks like [\"a\", \"b\"]")
        }
        words => Ok(words.to_vec()),
    }
}

/// The repository and the tag that a name means; it may say in front that it means this registry.
fn name_and_tag(name: &str, endpoint: &Endpoint) -> Result<(String, String)> {
    let host = endpoint.url.split_once("://").map_or("", |(_, host)| host);
    let (account, region) = (&endpoint.account_id, &endpoint.region);
    let ecr = format!("{account}.dkr.ecr.{region}.amazonaws.com");
    let ours = [host, ecr.as_str()];
    let rest = ours.iter().find_map(|host| name.strip_prefix(host)?.strip_prefix('/'));
    let rest = rest.unwrap_or(name);
    if rest.contains('@') {
        bail!("{name:?} names a digest, which follows from the image: give a name and a tag");
    }
    let slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], &rest[slash + colon + 1..]),
        None => (rest, TAG_DEFAULT),
    };
    if !is_repository_name(repository) {
        bail!(
            "{name:?} is no name of a repository here: lower-case letters, digits and ._-/ with \
             letters or digits around them, as in team/app:1"
        );
    }
    if !is_tag(tag) {
        bail!("{tag:?} is no tag: letters, digits and ._- up to 128, not beginning with . or -");
    }
    Ok((repository.to_owned(), tag.to_owned()))
}

/// An image of one program, made without a word.
pub async fn of_program(path: &Path, wishes: Wishes) -> Result<Image> {
    let source = Source { path: path.to_owned(), platform: None, force: true, wishes };
    make(source, Progress::Silent).await
}

/// Pushes without a word.
pub async fn push_silently(
    client: &Client,
    image: &Image,
    repository: &str,
    tag: &str,
) -> Result<()> {
    let login = push::Login::of(client).await?;
    push::push(&login, image, repository, tag, Progress::Silent).await
}

#[cfg(test)]
mod tests;
