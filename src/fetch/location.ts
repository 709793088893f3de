/** The URL as messages show it: without user and password, which are secrets. */
export function shownUrl(url: URL): string {
  return bareUrl(url).href;
}

/** Where a redirect led, as messages show it: its query often is a signature that opens the door. */
export function shownTarget(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** The URL without user and password: what is written down. */
export function bareUrl(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

/** Where an image's detached signature lies: beside it, with `.asc` added to the name. */
export function signatureUrl(image: URL): URL {
  const url = new URL(image);
  url.pathname += '.asc';
  return url;
}
