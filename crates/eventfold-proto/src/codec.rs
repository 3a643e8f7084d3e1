//! How messages are written into bytes, and read from them.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec as TonicCodec, EncodeBuf, Encoder as TonicEncoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// Messages as prost writes them, in buffers of their size. The library's own take 8 KiB a message, however small that is, and what
/// was decoded keeps them: an event that waits to be written would take twenty times what it has.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Encoder<T> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T: Message> TonicEncoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Buffers begin with room for an answer to an append, and get what a larger message needs.
fn buffers() -> BufferSettings {
    BufferSettings::new(FIRST_BYTES, YIELD_BYTES)
}

const FIRST_BYTES: usize = 64;

/// So much of what is ready is sent at once.
const YIELD_BYTES: usize = 32 << 10;
