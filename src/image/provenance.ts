import type { Digest } from './digest.ts';

/** The trust rule that let a key speak for a name: every name, or those under a prefix. */
export type TrustRule = { scope: 'root' } | { scope: 'prefix'; prefix: string };

/** How a signature comes: as a file beside an archive, or as one of the kinds that lie beside OCI images. */
export type SignatureKind = 'detached' | 'simple-signing' | 'cosign' | 'bundle' | 'notation';

/** What a signature is over. */
export interface SignedContent {
  /** The archive as fetched, an image index, or the manifest that is stored and run. */
  what: 'archive' | 'index' | 'manifest';
  digest: Digest;
}

/** What every yes has, whatever kind of key said it. */
export interface Vouched {
  /** Of what is trusted: its key file's name, lower-case hex. */
  fingerprint: string;
  /** ISO 8601, where the signature says (or a log or timestamp proves) when it was made. */
  signedAt?: string;
  /** ISO 8601. */
  verifiedAt: string;
  /** The image name the key was trusted for. */
  name: string;
  rule: TrustRule;
  /** The key file that vouched, absolute. */
  keyPath: string;
  /** SHA-256, in hex, of that file's bytes. */
  keyDigest: string;
  /** What `TrustedKey.stamp` said then: while it says so still, the digest need not be taken. */
  keyStamp: string;
  /** Absent in records of before there were several. */
  signature?: SignatureKind;
  signed?: SignedContent;
  /** The image reference the signature names, where it names one. */
  signedReference?: string;
  /** The signature itself, kept among the blobs for checking it again. */
  signatureBlob?: Digest & { size: number };
}

/** An OpenPGP key trusted for the image's name signed the very bytes that are stored. */
export interface OpenPgpProvenance extends Vouched {
  kind: 'openpgp';
  /** The key or subkey that made the signature: its key id, lower-case hex. */
  signingKeyId: string;
  userId?: string;
  signedAt: string;
}

/** A public key as sigstore uses them, without a certificate. */
export interface SigstoreKeyProvenance extends Vouched {
  kind: 'sigstore-key';
  /** `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  algorithm: string;
  /** Index in the transparency log, where an entry came with the signature. */
  logIndex?: string;
}

/** A keyless signature: a certificate for an identity, proven to be of its short life. */
export interface SigstoreIdentityProvenance extends Vouched {
  kind: 'sigstore-identity';
  /** The certificate's subject alternative name. */
  identity: string;
  issuer: string;
  /**
   * The authority that issued the certificate: SHA-256, in hex, of its own in the trusted root. Absent in
   * records of before that was asked again.
   */
  issuedBy?: string;
  logIndex?: string;
}

/** A Notary Project signature whose certificate chain ends in a trusted authority. */
export interface X509Provenance extends Vouched {
  kind: 'x509';
  /** Distinguished names of the signing certificate and of the trusted authority. */
  subject: string;
  authority: string;
}

/** Nobody vouched; the operator said not to ask. */
export interface UnverifiedProvenance {
  kind: 'unverified';
  reason: string;
}

/** Somebody said yes. */
export type VerifiedProvenance =
  | OpenPgpProvenance
  | SigstoreKeyProvenance
  | SigstoreIdentityProvenance
  | X509Provenance;

/** Who said yes to an image, under which rule, and when. */
export type Provenance = VerifiedProvenance | UnverifiedProvenance;
