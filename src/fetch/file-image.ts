import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GantryError, reasonOf } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { FetchContext } from './context.ts';
import { Intake, type Voucher } from './intake.ts';
import { fetchSignatureAgain, type SignatureLocation } from './signature.ts';
import type { Transport } from './transport.ts';

/** Read at once: large enough that the calls do not count, small enough to stay in the cache. */
const PIECE = 1 << 20;

/**
 * Takes in an image from a file of this machine; its signature lies beside it with `.asc` added,
 * unless another place is named.
 */
export async function fetchFileImage(
  path: string,
  signature: SignatureLocation | undefined,
  context: FetchContext,
  transport: Transport,
): Promise<ImageRecord> {
  const absolute = resolve(path);
  context.report.debug(`image: using image from file ${absolute}`);
  // First the image: where that is not, it is not its signature that is missing.
  await using file = await openArchive(absolute);
  const location = signature ?? { path: `${absolute}.asc` };
  const voucher = await voucherFrom(location, context, transport);
  const intake = await Intake.open(context, voucher, undefined);
  try {
    await readInto(file, intake, context.signal);
    return await intake.conclude({ path: absolute });
  } finally {
    await intake.abort();
  }
}

async function voucherFrom(
  location: SignatureLocation,
  context: FetchContext,
  transport: Transport,
): Promise<Voucher> {
  if (context.insecure.image) return { kind: 'none' };
  const signature = await fetchSignatureAgain(location, transport, context.report);
  return { kind: 'signature', signature };
}

async function openArchive(path: string): Promise<FileHandle> {
  const file = await open(path).catch((cause: unknown) => {
    throw new GantryError('not-found', `error opening ACI file ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new GantryError('not-found', `error opening ACI file ${path}: not a regular file`);
}

async function readInto(
  file: FileHandle,
  intake: Intake,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PIECE), 0, PIECE, null);
    if (bytesRead === 0) return;
    await intake.write(buffer.subarray(0, bytesRead));
  }
}
