import type { Digest } from '../image/digest.ts';
import type { SignedContent } from '../image/provenance.ts';

/** A signature as it was found beside an OCI image, not looked into yet. */
export type ManifestSignature = (
  | SimpleSigningSignature
  | CosignSignature
  | BundleSignature
  | NotationSignature
) & {
  /** The manifest or index it was found for; what it is really about, it says itself. */
  readonly subject: Digest;
  /** Where it was found, for messages. */
  readonly origin: string;
};

/** An OpenPGP signed message whose content is a simple-signing payload (containers/image, atomic-signature.md). */
export interface SimpleSigningSignature {
  readonly kind: 'simple-signing';
  readonly bytes: Uint8Array;
}

/** A layer of cosign's `sha256-….sig` manifest (sigstore/cosign, specs/SIGNATURE_SPEC.md). */
export interface CosignSignature {
  readonly kind: 'cosign';
  /** The simple-signing payload, byte for byte. */
  readonly payload: Uint8Array;
  /** Annotation `dev.cosignproject.cosign/signature`: base64. */
  readonly signature: string;
  /** Annotation `dev.sigstore.cosign/certificate`: PEM. */
  readonly certificate?: string;
  /** Annotation `dev.sigstore.cosign/chain`: PEM. */
  readonly chain?: string;
  /** Annotation `dev.sigstore.cosign/bundle`: JSON, the transparency log's entry. */
  readonly bundle?: string;
  /** Annotation `dev.sigstore.cosign/rfc3161timestamp`: JSON. */
  readonly timestamp?: string;
}

/** A sigstore bundle (sigstore/protobuf-specs, sigstore_bundle.proto), JSON. */
export interface BundleSignature {
  readonly kind: 'bundle';
  readonly bytes: Uint8Array;
}

/** A Notary Project signature envelope (notaryproject/specifications, signature-specification.md). */
export interface NotationSignature {
  readonly kind: 'notation';
  readonly mediaType: 'application/jose+json' | 'application/cose';
  readonly bytes: Uint8Array;
}

/** What may be signed: the manifest that is stored and run, or the index it was chosen from. */
export type SignatureCandidate = SignedContent & {
  readonly what: 'index' | 'manifest';
  /** The document, byte for byte; its digest has been checked. */
  readonly bytes: Uint8Array;
  readonly mediaType: string;
};

/** How far a reference in a signature must be the one that was asked for. */
export type SignedIdentityPolicy =
  /** The repository; and the tag, where the signature names one and one was asked for. */
  | 'tag'
  /** The repository alone. */
  | 'repository';
