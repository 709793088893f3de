/**
 * The unpacking thread: decompresses and writes the tree with synchronous calls, so that the main
 * thread is free for the network, the signature, the blob and the digests. See unpack-thread.ts.
 */
import { closeSync, openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { errnoOf, GantryError } from '../error.ts';
import { system } from '../system/binding.ts';
import { unpackArchive } from './archive-unpacking.ts';
import { contentSender } from './content-digest.ts';
import { messageOf } from './failure.ts';
import type { FromUnpacker, ToUnpacker, UnpackOrder } from './unpack-messages.ts';

const port = parentPort;
if (port === null) throw new GantryError('internal', 'unpack-worker runs as a thread only');

const answer = (message: FromUnpacker): void => port.postMessage(message);

/** The pieces as they arrive; taking one is told, so that the sender keeps only a few under way. */
async function* arriving(): AsyncIterable<Uint8Array> {
  const queue: ToUnpacker[] = [];
  let wake = (): void => {};
  port?.on('message', (message: ToUnpacker) => {
    queue.push(message);
    wake();
  });
  for (;;) {
    const message = queue.shift();
    if (message === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    } else if (message.kind === 'piece') {
      yield message.piece;
      const { buffer } = message.piece;
      port?.postMessage({ kind: 'taken', buffer } satisfies FromUnpacker, [buffer]);
    } else if (message.kind === 'end') {
      return;
    } else {
      throw new GantryError('interrupted', 'unpacking was given up');
    }
  }
}

async function unpack({ directory, limits, outstanding }: UnpackOrder): Promise<FromUnpacker> {
  const digest = contentSender(outstanding, (piece, memory) => {
    port?.postMessage({ kind: 'content', piece } satisfies FromUnpacker, [memory]);
  });
  const { size, manifest, deviceNodes } = await unpackArchive(
    arriving(),
    directory,
    limits,
    digest,
  );
  const fd = openSync(directory, 'r');
  try {
    // Covers the blob beside it too: the last piece came after it was written.
    system.syncFilesystem(fd);
  } finally {
    closeSync(fd);
  }
  return { kind: 'unpacked', size, manifest, deviceNodes };
}

unpack(workerData as UnpackOrder)
  .catch((error: unknown): FromUnpacker => {
    const code = error instanceof GantryError ? error.code : undefined;
    return { kind: 'failed', code, errno: errnoOf(error), message: messageOf(error) };
  })
  .then(answer)
  .finally(() => port.close());
