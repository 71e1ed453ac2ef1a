// A log that stays at its end while it grows, unless its reader has scrolled away.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** So near counts as the end. */
const NEAR = 48;

export function useStuckToEnd() {
  const ref = useRef<HTMLDivElement>(null);
  const sticks = useRef(true);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const toEnd = useCallback(() => {
    const area = ref.current;
    sticks.current = true;
    setIsAtEnd(true);
    if (area) area.scrollTop = area.scrollHeight;
  }, []);
  useLayoutEffect(toEnd, []);
  useEffect(() => {
    const area = ref.current;
    const content = area?.firstElementChild;
    if (!area || !content) return;
    const look = () => {
      sticks.current = area.scrollHeight - area.scrollTop - area.clientHeight < NEAR;
      setIsAtEnd(sticks.current);
    };
    const grown = new ResizeObserver(() => {
      if (sticks.current) area.scrollTop = area.scrollHeight;
      else look();
    });
    grown.observe(content);
    grown.observe(area);
    area.addEventListener("scroll", look, { passive: true });
    return () => {
      grown.disconnect();
      area.removeEventListener("scroll", look);
    };
  }, []);
  return { ref, isAtEnd, toEnd };
}
