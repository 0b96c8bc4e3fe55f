// A phone, and fingers on it, by the browser's own input events.

export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

/** Seconds between two events of a fling. */
const APART = 0.01;

/** A finger, or two, on a page. */
export async function fingerOf(page) {
  const devtools = await page.context().newCDPSession(page);
  const sendAt = (timestamp, type, ...points) =>
    devtools.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: points.map(([x, y], id) => ({ x, y, id })),
      timestamp,
    });
  const send = (...event) => sendAt(undefined, ...event);
  const selection = page.locator('.xterm-selection div');
  const finger = {
    down: (x, y) => send('touchStart', [x, y]),
    move: (x, y) => send('touchMove', [x, y]),
    up: () => send('touchEnd'),
    /** Rests until it selects. */
    async press(x, y) {
      // What was selected before may still be drawn.
      await selection.first().waitFor({ state: 'detached' });
      await finger.down(x, y);
      await selection.first().waitFor({ state: 'attached' });
    },
    /** Too short for a long press, however slow the machine. */
    tap: (x, y) => Promise.all([finger.down(x, y), finger.up()]),
    /** Moves in steps. The first comes at once: a finger that rests selects. */
    async glide([x, y], [toX, toY]) {
      const move = (step) => finger.move(x + ((toX - x) * step) / 10, y + ((toY - y) * step) / 10);
      await Promise.all([finger.down(x, y), move(1)]);
      for (let step = 2; step <= 10; step += 1) await move(step);
    },
    /** Moves up or down, and stays there. */
    drag: (x, from, to) => finger.glide([x, from], [x, to]),
    /** Moves to a side. */
    async slide(y, from, to) {
      await finger.glide([from, y], [to, y]);
      await finger.up();
    },
    /** Moves fast, and is lifted while it moves. */
    async fling(x, from, to) {
      const places = Array.from({ length: 7 }, (_, step) => [x, from + ((to - from) * step) / 6]);
      // Its speed is that of these times, however late the events arrive.
      const start = Date.now() / 1000 - places.length * APART;
      const events = places.map((place, step) =>
        sendAt(start + step * APART, step === 0 ? 'touchStart' : 'touchMove', place),
      );
      await Promise.all([...events, sendAt(start + places.length * APART, 'touchEnd')]);
    },
    /** Two fingers around a place, so far from it at first and in the end. */
    async pinch([x, y], from, to) {
      const points = (far) => [
        [x - far, y],
        [x + far, y],
      ];
      await send('touchStart', ...points(from));
      for (let step = 1; step <= 10; step += 1) await send('touchMove', ...points(from + ((to - from) * step) / 10));
      await send('touchEnd');
    },
  };
  return finger;
}
