// The history of the line as the proxy keeps it: more than the terminal holds, and every byte as it
// was printed.

/** What was kept, in order; where something is missing, a line says so. */
export async function fetchHistory(path: string, key: string): Promise<Blob> {
  const address = new URL('history', new URL(path, location.href));
  const parts: BlobPart[] = [];
  for (let from = 0; ; ) {
    address.searchParams.set('from', String(from));
    const answer = await fetch(address, { headers: { 'X-Console-Resume': key } });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const bytes = await answer.arrayBuffer();
    if (bytes.byteLength === 0) return new Blob(parts);
    const offset = Number(answer.headers.get('X-Console-Offset'));
    if (offset > from) parts.push(`\r\n[${offset - from} bytes are no longer kept]\r\n`);
    parts.push(bytes);
    from = Number(answer.headers.get('X-Console-Next'));
  }
}
