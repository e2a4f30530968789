// Shapes as signed distances: how far a pixel is from the edge of a shape.

/** Distance of a star's inner corners from its centre, as a share of its radius. */
const STAR_WAIST = 0.42;

/** Of an offset from the shape's centre in pixels: the distance in pixels from its edge, negative inside. */
export type Distance = (dx: number, dy: number) => number;

/**
 * Signed distance in pixels from the edge of a shape, negative inside.
 * @param turn radians; a circle has none
 * @returns the distance as a function of the offset from the shape's centre, in pixels
 */
export function shapeDistance(shape: string, radius: number, turn: number): Distance {
  switch (shape) {
    case 'circle':
      return (dx, dy) => Math.hypot(dx, dy) - radius * 0.9;
    case 'square':
      return polygon(4, radius, turn);
    case 'triangle':
      return polygon(3, radius, turn + Math.PI / 2);
    case 'star':
      return star(radius, turn);
    default:
      throw new Error(`${shape} is not a shape of WORLD. This is a bug.`);
  }
}

/** Folds the plane into the sector around angle 0. Exact along the edges, which is where it is visible. */
function polygon(corners: number, radius: number, turn: number): Distance {
  const half = Math.PI / corners;
  const inner = radius * Math.cos(half);
  return (dx, dy) => Math.hypot(dx, dy) * Math.cos(modulo(Math.atan2(dy, dx) - turn + half, 2 * half) - half) - inner;
}

function star(radius: number, turn: number): Distance {
  const half = Math.PI / 5;
  const [cornerX, cornerY] = [radius * STAR_WAIST * Math.cos(half), radius * STAR_WAIST * Math.sin(half)];
  const edge = Math.hypot(cornerX - radius, cornerY);
  return (dx, dy) => {
    const reach = Math.hypot(dx, dy);
    const angle = Math.abs(modulo(Math.atan2(dy, dx) - turn + Math.PI / 2 + half, 2 * half) - half);
    return -((cornerX - radius) * reach * Math.sin(angle) - cornerY * (reach * Math.cos(angle) - radius)) / edge;
  };
}

/** Never negative, unlike `%`. */
function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

/** An upright box. @param width half of its width in pixels @param height half of its height in pixels */
export function box(width: number, height: number): Distance {
  return (dx, dy) => Math.max(Math.abs(dx) - width, Math.abs(dy) - height);
}

/** A round disc. @param radius in pixels */
export function disc(radius: number): Distance {
  return (dx, dy) => Math.hypot(dx, dy) - radius;
}
