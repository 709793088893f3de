/** The trust rule that let a key speak for a name: every name, or those under a prefix. */
export type TrustRule = { scope: 'root' } | { scope: 'prefix'; prefix: string };

/** An OpenPGP key trusted for the image's name signed the very bytes that are stored. */
export interface OpenPgpProvenance {
  kind: 'openpgp';
  /** Of the primary key, lower-case hex. */
  fingerprint: string;
  /** The key or subkey that made the signature: its key id, lower-case hex. */
  signingKeyId: string;
  userId?: string;
  /** ISO 8601. */
  signedAt: string;
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
}

/** Nobody vouched; the operator said not to ask. */
export interface UnverifiedProvenance {
  kind: 'unverified';
  reason: string;
}

/** Who said yes to an image, under which rule, and when. */
export type Provenance = OpenPgpProvenance | UnverifiedProvenance;
