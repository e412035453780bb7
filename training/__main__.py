import sys
from training.config import make_config
from training.loop import train
import dataclasses
from training.config import Config
args=dict(a.lstrip('-').split('=') for a in sys.argv[1:])
types={f.name:type(f.default) for f in dataclasses.fields(Config)}
ov={k:types[k](v) for k,v in args.items() if k!='preset'}
train(make_config(args['preset'],**ov))
