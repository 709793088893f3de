import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { GantryError } from '../error.ts';
import type { ImageRecord, ImageSource } from '../image/image-record.ts';
import type { OpenPgpProvenance, Provenance } from '../image/provenance.ts';
import { requireGranted, type Wish } from '../image/wish.ts';
import type { Ingest, StagedImage } from '../store/staged-image.ts';
import { startVerification, type Verification } from '../trust/verification.ts';
import type { FetchContext } from './context.ts';
import type { DownloadTarget } from './download.ts';
import { reportVerdict } from './verdict-report.ts';

/**
 * Who is to vouch for the image: a signature, one that comes after the image, or nobody because the
 * operator said so.
 */
export type Voucher =
  | { readonly kind: 'signature'; readonly signature: Uint8Array }
  | { readonly kind: 'deferred'; fetch(): Promise<Uint8Array> }
  | { readonly kind: 'none' };

/** Bytes still read for the verdict once the archive turned out damaged. */
const VERDICT_LIMIT = 1 << 30;

/**
 * Takes an image in: every byte goes to the digest the signature is checked against and to the
 * store in the same call, so that what is verified is what is stored. The image becomes part of
 * the store only with a verdict; until then, and after any failure, nothing of it is there.
 */
export class Intake implements DownloadTarget {
  readonly #context: FetchContext;
  readonly #voucher: Voucher;
  readonly #wish: Wish | undefined;
  #verification: Verification | undefined;
  /** The signature file that the verification is about. */
  #signature: Uint8Array | undefined;
  #ingest: Ingest | undefined;
  /** The archive is damaged; kept back, because a broken signature is the better explanation. */
  #fault: GantryError | undefined;
  #bytesAfterFault = 0;

  private constructor(context: FetchContext, voucher: Voucher, wish: Wish | undefined) {
    this.#context = context;
    this.#voucher = voucher;
    this.#wish = wish;
  }

  /**
   * Makes ready to take an image in. Refuses at once where the name asked for is known and no
   * signature can be from a key trusted for it.
   *
   * @throws GantryError `untrusted`, `bad-signature`
   */
  static async open(
    context: FetchContext,
    voucher: Voucher,
    wish: Wish | undefined,
  ): Promise<Intake> {
    const intake = new Intake(context, voucher, wish);
    await intake.#startVerification();
    return intake;
  }

  write(chunk: Uint8Array): void | Promise<void> {
    if (this.#ingest === undefined) return this.#openIngest().then(() => this.write(chunk));
    this.#verification?.write(chunk);
    if (this.#fault !== undefined) return this.#countAfterFault(chunk.length, this.#fault);
    try {
      const written = this.#ingest.write(chunk);
      return written instanceof Promise ? written.catch((error) => this.#keepBack(error)) : written;
    } catch (error) {
      this.#keepBack(error);
    }
  }

  async restart(): Promise<void> {
    await this.abort();
    this.#fault = undefined;
    this.#bytesAfterFault = 0;
    await this.#startVerification();
  }

  /**
   * Says that all bytes came, asks for the verdict, holds the manifest against what was asked for,
   * and stores the image; or throws it away.
   *
   * @throws GantryError `untrusted`, `bad-signature`, `invalid-archive`, `invalid-manifest`, `store`
   */
  async conclude(source: ImageSource): Promise<ImageRecord> {
    const staged = await this.#stage();
    try {
      const provenance = await this.#verdict(staged);
      if (this.#wish !== undefined) requireGranted(this.#wish, staged.manifest, staged.id);
      this.#context.signal?.throwIfAborted();
      const signature = provenance.kind === 'openpgp' ? this.#signature : undefined;
      const record = await staged.commit({ source, provenance, signature });
      // A verdict of before is kept, but it is not one of now.
      const isNew = provenance.kind !== 'unverified' && this.#voucher.kind !== 'none';
      if (isNew) reportVerdict(provenance, this.#context);
      return record;
    } catch (error) {
      await staged.discard();
      throw error;
    }
  }

  /** Gives up; nothing of the image is kept. Harmless when there is nothing left to give up. */
  async abort(): Promise<void> {
    const ingest = this.#ingest;
    this.#ingest = undefined;
    this.#verification?.abort();
    this.#verification = undefined;
    await ingest?.abort();
  }

  async #openIngest(): Promise<void> {
    const { store, limits } = this.#context;
    this.#ingest = await store.beginIngest(limits);
  }

  async #startVerification(): Promise<void> {
    if (this.#voucher.kind !== 'signature') return;
    this.#verification = await this.#verificationBy(this.#voucher.signature);
  }

  #verificationBy(signature: Uint8Array): Promise<Verification> {
    const { directories } = this.#context;
    this.#signature = signature;
    return startVerification({ signature, directories, name: this.#wish?.name });
  }

  async #stage(): Promise<StagedImage> {
    if (this.#ingest === undefined) await this.#openIngest();
    try {
      if (this.#fault === undefined && this.#ingest !== undefined) {
        const ingest = this.#ingest;
        this.#ingest = undefined;
        return await ingest.finish();
      }
    } catch (error) {
      this.#keepBack(error);
    }
    // A changed byte damages archive and signature alike; the signature says what it means.
    if (this.#wish !== undefined) await this.#verification?.conclude(this.#wish.name);
    throw this.#fault;
  }

  async #verdict(staged: StagedImage): Promise<Provenance> {
    const { name } = staged.manifest;
    if (this.#voucher.kind === 'none') {
      // Nobody is asked now; but who vouched for this very content before has not taken it back.
      const known = this.#context.store.getImage(staged.id)?.provenance;
      if (known !== undefined && known.kind !== 'unverified') return known;
      return { kind: 'unverified', reason: 'fetched with --insecure-options=image' };
    }
    if (this.#voucher.kind === 'deferred') {
      this.#verification = await this.#verificationBy(await this.#voucher.fetch());
      for await (const chunk of createReadStream(staged.blobPath, { highWaterMark: 1 << 20 })) {
        this.#verification.write(chunk);
      }
    }
    if (this.#verification === undefined) throw new GantryError('internal', `${name}: no verdict`);
    const provenance = await this.#verification.conclude(name);
    return { ...provenance, ...keptSignature(staged, this.#signature) };
  }

  /** Without a name to ask the signature about, the damage is all there is to say. */
  #keepBack(error: unknown): void {
    const damaged =
      error instanceof GantryError &&
      (error.code === 'invalid-archive' || error.code === 'invalid-manifest');
    if (!damaged || this.#verification === undefined || this.#wish === undefined) throw error;
    this.#fault = error;
  }

  #countAfterFault(bytes: number, fault: GantryError): void {
    this.#bytesAfterFault += bytes;
    if (this.#bytesAfterFault > VERDICT_LIMIT) throw fault;
  }
}

/** What the record says of a detached signature that is kept with its image. */
function keptSignature(
  { blob }: StagedImage,
  signature: Uint8Array | undefined,
): Pick<OpenPgpProvenance, 'signature' | 'signed' | 'signatureBlob'> {
  const { algorithm, hex } = blob;
  const signed = { what: 'archive', digest: { algorithm, hex } } as const;
  if (signature === undefined) return { signature: 'detached', signed };
  const own = createHash('sha256').update(signature).digest('hex');
  const signatureBlob = { algorithm: 'sha256', hex: own, size: signature.length } as const;
  return { signature: 'detached', signed, signatureBlob };
}
