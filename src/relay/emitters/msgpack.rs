//! MessagePack, item by item, from somebody who may not mean well.

use crate::telemetry::relay::Lost;

/// A text of MessagePack that is read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// A scalar, or what a container begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    Boolean(bool),
    /// An integer of 64 bits, with a sign or without.
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs follow.
    Map(u32),
    /// A value of this type.
    Extension(i8, &'a [u8]),
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// Reads an item. What it announces is not set aside, but looked for.
    pub(super) fn item(&mut self) -> Result<Item<'a>, Lost> {
        let marker = self.u8()?;
        Ok(match marker {
            0x00..=0x7f => Item::Integer(marker.into()),
            0x80..=0x8f => Item::Map((marker & 0x0f).into()),
            0x90..=0x9f => Item::Array((marker & 0x0f).into()),
            0xa0..=0xbf => self.text((marker & 0x1f).into())?,
            0xc0 => Item::Nil,
            0xc1 => return Err(Lost::Malformed),
            0xc2 => Item::Boolean(false),
            0xc3 => Item::Boolean(true),
            0xc4..=0xc6 => {
                let length = self.length(marker - 0xc4)?;
                Item::Binary(self.bytes(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(marker - 0xc7)?;
                self.extension(length)?
            }
            0xca => Item::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Item::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Item::Integer(self.u8()?.into()),
            0xcd => Item::Integer(u16::from_be_bytes(self.array()?).into()),
            0xce => Item::Integer(u32::from_be_bytes(self.array()?).into()),
            0xcf => Item::Integer(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Item::Integer(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Item::Integer(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Item::Integer(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Item::Integer(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(marker - 0xd9)?;
                self.text(length)?
            }
            0xdc | 0xdd => Item::Array(self.length(marker - 0xdb)?),
            0xde | 0xdf => Item::Map(self.length(marker - 0xdd)?),
            0xe0..=0xff => Item::Integer(marker.cast_signed().into()),
        })
    }

    /// Reads one value, with everything in it, and returns how it is written.
    ///
    /// It needs neither memory nor stack, however deep things are nested in it.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Lost> {
        let start = self.0;
        let mut left = 1_u64;
        while left > 0 {
            left = (left - 1).saturating_add(match self.item()? {
                Item::Array(values) => values.into(),
                Item::Map(pairs) => 2 * u64::from(pairs),
                _ => 0,
            });
        }
        Ok(start.get(..start.len() - self.0.len()).unwrap_or_default())
    }

    pub(super) fn array_header(&mut self) -> Result<u32, Lost> {
        match self.item()? {
            Item::Array(values) => Ok(values),
            _ => Err(Lost::Malformed),
        }
    }

    /// Reads a map whose keys are strings; `with` is called for each, and reads the value.
    pub(super) fn map(
        &mut self,
        mut with: impl FnMut(&str, &mut Self) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        let Item::Map(pairs) = self.item()? else { return Err(Lost::Malformed) };
        for _ in 0..pairs {
            let Item::Text(key) = self.item()? else { return Err(Lost::Malformed) };
            with(key, self)?;
        }
        Ok(())
    }

    /// Sees that nothing is left.
    pub(super) fn end(&self) -> Result<(), Lost> {
        if self.0.is_empty() { Ok(()) } else { Err(Lost::Malformed) }
    }

    /// Reads a length, of one byte, two or four.
    fn length(&mut self, form: u8) -> Result<u32, Lost> {
        Ok(match form {
            0 => self.u8()?.into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?),
        })
    }

    fn text(&mut self, length: u32) -> Result<Item<'a>, Lost> {
        str::from_utf8(self.bytes(length)?).map(Item::Text).map_err(|_| Lost::Malformed)
    }

    fn extension(&mut self, length: u32) -> Result<Item<'a>, Lost> {
        let kind = self.u8()?.cast_signed();
        Ok(Item::Extension(kind, self.bytes(length)?))
    }

    fn u8(&mut self) -> Result<u8, Lost> {
        self.array().map(u8::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Lost> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Lost::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: u32) -> Result<&'a [u8], Lost> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Lost::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }
}
