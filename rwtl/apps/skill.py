"""Pre-train for next-frame prediction over a grid of settings; a table and figures beside the baselines.

# In seconds: do the parts fit together?
rwtl skill debug=tiny 'grid=["pretraining.iterations=1,2"]'
# Another grid: a key and its values for each of its directions.
rwtl skill 'grid=["clips.dt=0.5,1,2","model.variant=small,basic"]'
# Four models at a time.
rwtl skill executor.jobs=4
"""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("skill")
def main(cfg: DictConfig) -> None:
    from rwtl.comparing.skill_grid import skill_grid

    folder = skill_grid(cfg)
    print(f"table:   {folder / 'skill.csv'}\nfigures: {folder / 'skill.png'}, {folder / 'next_frames.png'}")
