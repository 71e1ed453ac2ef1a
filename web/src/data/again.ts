// What has to be read and cannot be just now is tried until it can, at growing distances.

const FIRST_MS = 1_000;
const MOST_MS = 30_000;

interface Trying {
  /** Nobody wants it any more. */
  isOver: () => boolean;
  failed: (error: unknown) => void;
  pause: (ms: number) => Promise<void>;
}

export async function again(attempt: () => Promise<void>, { isOver, failed, pause }: Trying): Promise<void> {
  for (let wait = FIRST_MS; !isOver(); wait = Math.min(2 * wait, MOST_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (isOver()) return;
      failed(error);
      await pause(wait);
    }
  }
}
