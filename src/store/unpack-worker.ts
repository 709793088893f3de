/**
 * The unpacking thread: decompresses and writes trees with synchronous calls, so that the main thread
 * is free for the network, the signature, the blob and the digests. It takes one archive after the
 * other. See unpack-thread.ts.
 */
import { closeSync, openSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { errnoOf, GantryError } from '../error.ts';
import { system } from '../system/binding.ts';
import { type UnpackedArchive, unpackArchive } from './archive-unpacking.ts';
import { contentSender } from './content-digest.ts';
import { messageOf } from './failure.ts';
import { type UnpackedLayer, unpackLayer } from './layer-unpacking.ts';
import type { FromUnpacker, ToUnpacker, UnpackOrder } from './unpack-messages.ts';
import { UnpackBudget, UnpackMeter } from './unpack-meter.ts';

const port = parentPort;
if (port === null) throw new GantryError('internal', 'unpack-worker runs as a thread only');

const answer = (message: FromUnpacker): void => port.postMessage(message);

/** The messages in order, waited for where none is there. */
const arrived: ToUnpacker[] = [];
let wake = (): void => {};
port.on('message', (message: ToUnpacker) => {
  arrived.push(message);
  wake();
});

async function nextMessage(): Promise<ToUnpacker> {
  for (;;) {
    const message = arrived.shift();
    if (message !== undefined) return message;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

let isWanted = true;

/** One archive's messages, as long as it is being unpacked. */
class Session {
  #isOver = false;

  /** The pieces as they arrive; taking one is told, so that the sender keeps only a few under way. */
  async *pieces(): AsyncIterable<Uint8Array> {
    // A decompressor whose sink failed may still ask: what comes then is the next archive's.
    while (!this.#isOver) {
      const message = await nextMessage();
      if (message.kind === 'piece') {
        yield message.piece;
        const { buffer } = message.piece;
        port?.postMessage({ kind: 'taken', buffer } satisfies FromUnpacker, [buffer]);
      } else if (message.kind === 'end') {
        return;
      } else {
        isWanted = false;
        throw new GantryError('interrupted', 'unpacking was given up');
      }
    }
  }

  end(): void {
    this.#isOver = true;
  }
}

async function unpack(
  { kind, directory, limits, budget }: UnpackOrder,
  outstanding: SharedArrayBuffer,
): Promise<UnpackedArchive | UnpackedLayer> {
  const digest = contentSender(outstanding, (piece, memory) => {
    port?.postMessage({ kind: 'content', piece } satisfies FromUnpacker, [memory]);
  });
  const meter = new UnpackMeter(limits, new UnpackBudget(budget));
  const session = new Session();
  try {
    // A layer is one of several, and all are synced together.
    if (kind === 'layer') return await unpackLayer(session.pieces(), directory, meter, digest);
    const unpacked = await unpackArchive(session.pieces(), directory, meter, digest);
    sync(directory);
    return unpacked;
  } catch (error) {
    meter.giveBack();
    throw error;
  } finally {
    session.end();
  }
}

/** Covers the blob beside it too: the last piece came after it was written. */
function sync(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    system.syncFilesystem(fd);
  } finally {
    closeSync(fd);
  }
}

function failureMessage(error: unknown): FromUnpacker {
  const code = error instanceof GantryError ? error.code : undefined;
  return { kind: 'failed', code, errno: errnoOf(error), message: messageOf(error) };
}

async function serve(): Promise<void> {
  while (isWanted) {
    const message = await nextMessage();
    if (message.kind === 'quit') return;
    // Whatever else comes belongs to an archive that failed.
    if (message.kind !== 'start') continue;
    try {
      answer({ kind: 'unpacked', unpacked: await unpack(message.order, message.outstanding) });
    } catch (error) {
      answer(failureMessage(error));
    }
  }
}

serve().finally(() => port.close());
