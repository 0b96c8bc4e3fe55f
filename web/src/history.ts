// The history of the line as the proxy keeps it: more than the terminal holds, and every byte as it
// was printed.

import type { Piece } from './archive';

/** Timeout for one piece, in milliseconds. */
const LATEST = 20_000;

/**
 * Yields what was kept when the download began, in order; with `newest`, only that many of the newest bytes. If the
 * proxy drops bytes meanwhile, the next piece begins behind them. `key` is the session's resume key. Throws an `Error`
 * with the proxy's reason.
 */
export async function* historyPieces(path: string, key: string, newest = Infinity): AsyncGenerator<Piece> {
  const address = new URL('history', new URL(path, location.href));
  let [from, end] = [0, 0];
  do {
    address.searchParams.set('from', String(from));
    const answer = await fetch(address, {
      headers: { 'X-Console-Resume': key },
      signal: AbortSignal.timeout(LATEST),
    });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const number = (name: string): number => Number(answer.headers.get(name));
    end ||= number('X-Console-End');
    if (from === 0 && end - number('X-Console-Offset') > newest) {
      await answer.body?.cancel();
      from = end - newest;
      continue;
    }
    yield { bytes: await answer.arrayBuffer(), offset: number('X-Console-Offset'), end };
    from = number('X-Console-Next');
  } while (from < end);
}

/** The whole history as a file. A line in it says where bytes are missing. */
export async function fetchHistory(path: string, key: string): Promise<Blob> {
  const parts: BlobPart[] = [];
  let next = 0;
  for await (const { bytes, offset } of historyPieces(path, key)) {
    if (offset > next) parts.push(`\r\n[${offset - next} bytes are no longer kept]\r\n`);
    parts.push(bytes);
    next = offset + bytes.byteLength;
  }
  return new Blob(parts);
}
