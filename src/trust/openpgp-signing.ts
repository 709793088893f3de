import { ReadableStream } from 'node:stream/web';
import { type Config, createMessage, enums, sign } from 'openpgp';
import type { OpenPgpSigningKey } from './openpgp-signing-key.ts';
import { POLICY } from './policy.ts';

/**
 * As gpg signs: without the library's name in the armor, and without the random notation by which it
 * guards against a faulty processor.
 */
const SIGNING: Config = {
  ...POLICY,
  preferredHashAlgorithm: enums.hash.sha512,
  nonDeterministicSignaturesViaNotation: false,
  showVersion: false,
  showComment: false,
};

/**
 * Signs content of any size as `gpg --armor --detach-sign` does: a binary signature (RFC 9580 section
 * 5.2.1.1) by the newest key or subkey that may, armored. The content is read once and not kept.
 */
export async function signDetached(
  content: AsyncIterable<Uint8Array>,
  { key }: OpenPgpSigningKey,
): Promise<string> {
  const message = await createMessage({ binary: streamOf(content) });
  const armored = await sign({ message, signingKeys: key, detached: true, config: SIGNING });
  return await collected(armored);
}

/** Signs a short content as `gpg --sign` does: one message of it and its signature, binary. */
export async function signMessage(
  content: Uint8Array,
  { key }: OpenPgpSigningKey,
): Promise<Uint8Array> {
  const message = await createMessage({ binary: content });
  return await sign({ message, signingKeys: key, format: 'binary', config: SIGNING });
}

/** The library reads web streams, and has a type of its own for them. */
function streamOf(content: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = content[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

async function collected(armored: string | AsyncIterable<string>): Promise<string> {
  if (typeof armored === 'string') return armored;
  let text = '';
  for await (const piece of armored) text += piece;
  return text;
}
