import type { Digest } from '../image/digest.ts';
import type { CosignSignature } from '../trust/manifest-signature.ts';

/** The media type of a layer that is a simple-signing payload (sigstore/cosign, specs/SIGNATURE_SPEC.md). */
export const COSIGN_PAYLOAD_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';

/** The artifact type of Notary Project signatures (notaryproject/specifications, signature-specification.md). */
export const NOTATION_ARTIFACT_TYPE = 'application/vnd.cncf.notary.signature';

/** Of one image, in each of the places; whoever has more than that means no good. */
export const MAX_SIGNATURES = 64;

const BUNDLE_TYPE =
  /^application\/vnd\.dev\.sigstore\.bundle(\.v0\.\d+\+json|\+json;version=0\.\d+)$/;
const SIGNATURE_TAG = /^sha(256|512)-[0-9a-f]+\.sig$/;

const ANNOTATIONS = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
} as const;

/** What cosign's annotations on a payload's layer say. */
export type CosignAnnotations = Pick<CosignSignature, keyof typeof ANNOTATIONS>;

/** Whether a media or artifact type is that of sigstore bundles, of any version. */
export function isBundleType(type: string): boolean {
  return BUNDLE_TYPE.test(type);
}

/** The tag under which an image's classic signatures lie (sigstore/cosign, specs/SIGNATURE_SPEC.md). */
export function signatureTag({ algorithm, hex }: Digest): string {
  return `${algorithm}-${hex}.sig`;
}

/** Whether classic signatures lie under a tag. */
export function isSignatureTag(reference: unknown): reference is string {
  return typeof reference === 'string' && SIGNATURE_TAG.test(reference);
}

/** The annotations of a layer that is a classic signature. */
export function annotationsOf(signature: CosignAnnotations): Record<string, string> {
  const { certificate, chain, bundle, timestamp } = signature;
  return {
    [ANNOTATIONS.signature]: signature.signature,
    ...(certificate ? { [ANNOTATIONS.certificate]: certificate } : {}),
    ...(chain ? { [ANNOTATIONS.chain]: chain } : {}),
    ...(bundle ? { [ANNOTATIONS.bundle]: bundle } : {}),
    ...(timestamp ? { [ANNOTATIONS.timestamp]: timestamp } : {}),
  };
}

/** What `annotationsOf` wrote, or cosign; undefined where no signature is among them. */
export function readAnnotations(
  annotations: Readonly<Record<string, string>> = {},
): CosignAnnotations | undefined {
  const signature = annotations[ANNOTATIONS.signature];
  if (signature === undefined) return undefined;
  const certificate = annotations[ANNOTATIONS.certificate];
  const chain = annotations[ANNOTATIONS.chain];
  const bundle = annotations[ANNOTATIONS.bundle];
  const timestamp = annotations[ANNOTATIONS.timestamp];
  return {
    signature,
    ...(certificate ? { certificate } : {}),
    ...(chain ? { chain } : {}),
    ...(bundle ? { bundle } : {}),
    ...(timestamp ? { timestamp } : {}),
  };
}
