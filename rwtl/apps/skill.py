"""Pre-train for next-frame prediction over a grid of settings; a table and figures beside the baselines."""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("skill")
def main(cfg: DictConfig) -> None:
    from rwtl.comparing.skill_grid import skill_grid

    folder = skill_grid(cfg)
    print(f"table:   {folder / 'skill.csv'}\nfigures: {folder / 'skill.png'}, {folder / 'next_frames.png'}")
