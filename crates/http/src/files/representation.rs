//! In which form a file is sent.

use sunstar_executor::timer::unix_time;
use sunstar_http1::{Headers, Status};
use sunstar_storage::File;

use super::conditional::Validators;
use super::media::MediaType;
use super::{Files, Refusal};
use crate::compress::{Accepted, Coding};

/// A form of a file.
pub(super) struct Representation {
    /// What its bytes come from.
    pub(super) file: File,
    pub(super) media: MediaType,
    pub(super) coding: Option<Coding>,
    /// Whether the coding is done while it is sent, rather than that of the file.
    pub(super) is_made: bool,
    /// Whether other clients may get other forms.
    pub(super) varies: bool,
    pub(super) validators: Validators,
}

impl Representation {
    fn new(file: File, media: MediaType, coding: Option<Coding>, varies: bool) -> Self {
        let validators = Validators::new(file.metadata(), unix_time());
        Self { file, media, coding, is_made: false, varies, validators }
    }

    /// How many bytes are sent.
    pub(super) fn len_bytes(&self) -> Option<u64> {
        (!self.is_made).then(|| self.file.metadata().len_bytes)
    }

    /// The file as it is, in place of what would be made of it.
    pub(super) fn unmade(self) -> Self {
        Self::new(self.file, self.media, None, self.varies)
    }
}

impl Files {
    /// The form that the client likes best, of those that there are.
    pub(super) async fn represent(
        &self,
        file: File,
        path: &[u8],
        headers: &Headers,
    ) -> Result<Representation, Refusal> {
        let media = MediaType::of(path);
        let accepted = Accepted::of(headers);
        let must_be_coded = !accepted.takes_identity();
        let has_others = self.options.precompressed || !self.options.compressed_bytes.is_empty();
        let varies = media.is_compressible() && has_others;
        if !varies && !must_be_coded {
            return Ok(Representation::new(file, media, None, false));
        }
        if self.options.precompressed {
            for coding in accepted.by_preference() {
                if let Some(sibling) = self.sibling(&file, path, coding).await {
                    return Ok(Representation::new(sibling, media, Some(coding), true));
                }
            }
        }
        let is_worth_it = self.options.compressed_bytes.contains(&file.metadata().len_bytes);
        match accepted.best() {
            Some(coding) if is_worth_it || must_be_coded => {
                let plain = Representation::new(file, media, Some(coding), true);
                Ok(Representation { is_made: true, validators: plain.validators.weak(), ..plain })
            }
            None if must_be_coded => Err(Refusal::Status(Status::NOT_ACCEPTABLE)),
            _ => Ok(Representation::new(file, media, None, varies)),
        }
    }

    /// The file that has been compressed before, if it is not older than what it was made of.
    async fn sibling(&self, file: &File, path: &[u8], coding: Coding) -> Option<File> {
        let path = [path, b".", coding.ending().as_bytes()].concat();
        let sibling = self.root.open_file(path).await.ok()?;
        (sibling.metadata().modified >= file.metadata().modified).then_some(sibling)
    }
}
