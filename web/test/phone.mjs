// A phone, and fingers on it, by the browser's own input events.

export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

/** Milliseconds of a long press, with time to spare. */
const PRESS = 700;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A finger, or two, on a page. */
export async function fingerOf(page) {
  const devtools = await page.context().newCDPSession(page);
  const send = (type, ...points) =>
    devtools.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: points.map(([x, y], id) => ({ x, y, id })),
    });
  const finger = {
    down: (x, y) => send('touchStart', [x, y]),
    move: (x, y) => send('touchMove', [x, y]),
    up: () => send('touchEnd'),
    /** Rests until it selects. */
    async press(x, y) {
      await finger.down(x, y);
      await pause(PRESS);
    },
    /** Moves up or down, and stays there. */
    async drag(x, from, to) {
      await finger.down(x, from);
      for (let step = 1; step <= 10; step += 1) await finger.move(x, from + ((to - from) * step) / 10);
    },
    /** Moves to a side. */
    async slide(y, from, to) {
      await finger.down(from, y);
      for (let step = 1; step <= 10; step += 1) await finger.move(from + ((to - from) * step) / 10, y);
      await finger.up();
    },
    /** Moves fast, and is lifted while it moves. */
    async fling(x, from, to) {
      await finger.down(x, from);
      const moves = Array.from({ length: 6 }, (_, step) => finger.move(x, from + ((to - from) * (step + 1)) / 6));
      await Promise.all([...moves, finger.up()]);
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
