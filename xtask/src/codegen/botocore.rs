//! Where the service models come from: botocore in exactly one version. An installed one is used
//! if it is that version; otherwise pip fetches that wheel into a folder which is removed again.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::Run;

/// Changing this is one commit, whose diff of the generated files shows what AWS changed.
pub const VERSION: &str = "1.43.11";

pub struct Models {
    data: PathBuf,
    downloaded: Option<PathBuf>,
}

impl Models {
    pub fn find() -> Result<Models> {
        let probe = "import botocore; print(botocore.__version__); print(botocore.__file__)";
        let installed = Command::new("python3").args(["-c", probe]).output();
        if let Ok(output) = installed {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut lines = text.lines();
            if let (Some(VERSION), Some(file)) = (lines.next(), lines.next()) {
                let package = Path::new(file).parent().context("botocore has no folder")?;
                return Ok(Models { data: package.join("data"), downloaded: None });
            }
        }
        Models::download()
    }

    fn download() -> Result<Models> {
        let folder = std::env::temp_dir().join(format!("botocore-models-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        // From here on Drop removes the folder, also when pip fails.
        let models = Models { data: folder.join("botocore/data"), downloaded: Some(folder) };
        let folder = models.downloaded.as_deref().expect("it was just set");
        let wanted = format!("botocore=={VERSION}");
        Run::line("python3 -m pip download --quiet --no-deps --only-binary :all: --dest")
            .arg(folder)
            .arg(wanted)
            .read()?;
        let wheel = folder.join(format!("botocore-{VERSION}-py3-none-any.whl"));
        Run::line("python3 -m zipfile -e").arg(&wheel).arg(folder).read()?;
        Ok(models)
    }

    /// The service model of `service` in API version `version`, as JSON text.
    pub fn read(&self, service: &str, version: &str) -> Result<Vec<u8>> {
        let plain = self.data.join(service).join(version).join("service-2.json");
        if plain.is_file() {
            return Ok(std::fs::read(plain)?);
        }
        let packed = plain.with_extension("json.gz");
        let file = std::fs::File::open(&packed)
            .with_context(|| format!("botocore has no {}", packed.display()))?;
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut text)?;
        if text.is_empty() {
            bail!("{} is empty", packed.display());
        }
        Ok(text)
    }
}

impl Drop for Models {
    fn drop(&mut self) {
        if let Some(folder) = &self.downloaded
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            eprintln!("xtask codegen: {} stays behind: {error}", folder.display());
        }
    }
}
